//! What the arguments of a system call are, as the compiler of filters reads it.

use std::collections::BTreeMap;
use std::io;

use nix::libc::c_long;
use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

/// Each system call with the ways to call it that are meant: all of them, if there is none.
pub(super) type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// What an argument must be.
pub(super) enum Argument {
    /// The lower half of the argument, all that the kernel reads of an `int`, is this number.
    Is(u8, u64),
    /// The lower half is any other number.
    Other(u8, u64),
    /// These bits of it are so.
    Bits(u8, u64, u64),
    /// It is a null pointer.
    Null(u8),
}

/// Makes a number of what the C headers have as numbers of several types.
macro_rules! n {
    ($value:expr) => {
        ($value) as u32 as u64
    };
}

pub(super) use n;

/// Adds ways to call something, each with what all of its arguments must be.
pub(super) fn add(rules: &mut Rules, ways: Vec<(c_long, Vec<Argument>)>) -> io::Result<()> {
    for (call, arguments) in ways {
        let conditions = arguments.iter().map(Argument::condition).collect::<Result<_, _>>();
        let rule = conditions.and_then(SeccompRule::new).map_err(io::Error::other)?;
        rules.entry(call).or_default().push(rule);
    }
    Ok(())
}

impl Argument {
    fn condition(&self) -> Result<SeccompCondition, BackendError> {
        let (index, length, operator, value) = match *self {
            Self::Is(index, value) => (index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value),
            Self::Other(index, value) => (index, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value),
            Self::Bits(index, mask, value) => {
                (index, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
            }
            Self::Null(index) => (index, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0),
        };
        SeccompCondition::new(index, length, operator, value)
    }
}
