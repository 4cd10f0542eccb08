//! Why the kernel did not execute a program.

use std::ffi::{CStr, OsStr};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::libc;

use super::access::{self, Accessor, shown};
use super::binary::{self, Format};
use crate::sys::launch::Image;
use crate::text::quoted;

/// An interpreter may be a script itself; the kernel follows so many.
const MAX_INTERPRETERS: usize = 5;

/// A program that could not be executed.
pub struct Attempt {
    /// Where it was looked for, in this order.
    candidates: Vec<PathBuf>,
    who: Accessor,
    /// The bytes of its arguments and environment together, and of the longest of them.
    bytes: (usize, usize),
}

impl Attempt {
    /// `cwd` is the working directory, from which relative paths start.
    pub fn new(image: &Image, cwd: &str, who: Accessor) -> Self {
        let lengths = image.arguments.iter().chain(&image.environment).map(|text| text.count_bytes() + 1);
        let bytes = lengths.fold((0, 0), |(all, longest), length| (all + length, longest.max(length)));
        let candidates = image.candidates.iter().map(|path| Path::new(cwd).join(real(path))).collect();
        Self { candidates, who, bytes }
    }

    /// Explains the error of the kernel. `None` if there is nothing to add to it.
    pub fn explain(&self, error: &io::Error) -> Option<String> {
        match error.raw_os_error()? {
            libc::ENOENT | libc::ENOTDIR | libc::EACCES | libc::ENOEXEC | libc::EPERM | libc::ELIBBAD => {
                self.by_looking(error)
            }
            libc::E2BIG => {
                let (all, longest) = self.bytes;
                Some(format!(
                    "its arguments and environment have {all} bytes, the longest {longest}; the kernel \
                     takes at most 131072 in one, and a quarter of the limit on the stack in all: shorten \
                     `action` or `env`, or raise `rlimits` `stack`"
                ))
            }
            libc::ETXTBSY => Some(
                "somebody has the program open for writing; replace programs by renaming a new file"
                    .to_owned(),
            ),
            libc::EAGAIN => Some(format!(
                "user {} has as many processes as its limit allows; raise `rlimits` `nproc`, or \
                 RLIMIT_NPROC of the daemon",
                self.who.user()
            )),
            libc::ENOMEM => Some(
                "no memory is left for it, in the machine, in the control group or below `rlimits`"
                    .to_owned(),
            ),
            libc::ELOOP => {
                Some("its links lead in a circle, or its interpreters need too many others".to_owned())
            }
            _ => None,
        }
    }

    fn by_looking(&self, error: &io::Error) -> Option<String> {
        let Some(program) =
            self.candidates.iter().find(|path| fs::metadata(path).is_ok_and(|at| at.is_file()))
        else {
            return self.not_a_file(error);
        };
        self.look_at(program, error, MAX_INTERPRETERS)
    }

    /// Explains why there is no file at any of the places.
    fn not_a_file(&self, error: &io::Error) -> Option<String> {
        match self.candidates.as_slice() {
            [path] => match fs::metadata(path) {
                Ok(other) if other.is_dir() => Some(format!("{} is a directory", shown(path))),
                Ok(_) => Some(format!("{} is not a regular file", shown(path))),
                Err(_) if error.raw_os_error() == Some(libc::EACCES) => access::on_the_way(path, &self.who),
                Err(_) => Some(access::missing(path)),
            },
            several => {
                let places: Vec<_> = several.iter().filter_map(|path| path.parent()).map(shown).collect();
                Some(format!(
                    "it is in none of {}; install it, give its whole path, or set `PATH` in `env`",
                    places.join(", ")
                ))
            }
        }
    }

    /// Explains why a file that exists cannot be executed.
    fn look_at(&self, program: &Path, error: &io::Error, depth: usize) -> Option<String> {
        if let Some(closed) = access::on_the_way(program, &self.who) {
            return Some(closed);
        }
        let name = shown(program);
        let metadata = fs::metadata(program).ok()?;
        if !self.who.may_execute(&metadata) {
            return Some(self.not_executable(program, &metadata));
        }
        if access::is_noexec(program) {
            return Some(format!(
                "{name} is on a file system that is mounted noexec (see `findmnt -T {}`): put the program \
                 elsewhere, or give it to its interpreter as an argument",
                quoted(&program.to_string_lossy())
            ));
        }
        let needed = match binary::format(program) {
            Ok(Format::Script { interpreter }) => self.interpreter(program, &interpreter, error, depth),
            Ok(Format::Elf { machine, loader }) => self.elf(&name, machine, loader.as_deref()),
            Ok(Format::Empty) => Some(format!("{name} is empty")),
            Ok(Format::Other) if error.raw_os_error() == Some(libc::ENOEXEC) => Some(format!(
                "{name} is neither a program for this machine nor a script: a script starts with a line \
                 such as #!/bin/sh"
            )),
            Ok(Format::Other) | Err(_) => None,
        };
        needed.or_else(|| match error.raw_os_error()? {
            libc::EACCES => Some("its mode allows it, so look for an ACL or a security module".to_owned()),
            libc::EPERM if metadata.mode() & 0o6000 != 0 || metadata.is_file() => Some(format!(
                "{name} has file capabilities or a set-user-id bit that the daemon's capabilities do not \
                 allow (`getcap`, `CapabilityBoundingSet=`), or a security module forbids it"
            )),
            _ => None,
        })
    }

    fn not_executable(&self, program: &Path, metadata: &Metadata) -> String {
        format!(
            "user {} may not execute {} ({}); to allow it, run `chmod a+x {}`",
            self.who.user(),
            shown(program),
            access::owner_and_mode(metadata),
            quoted(&program.to_string_lossy())
        )
    }

    fn interpreter(
        &self,
        script: &Path,
        interpreter: &Path,
        error: &io::Error,
        depth: usize,
    ) -> Option<String> {
        let named =
            format!("the first line of {} names the interpreter {}", shown(script), shown(interpreter));
        let bytes = interpreter.as_os_str().as_bytes();
        if let [.., b'\r'] = bytes {
            return Some(format!(
                "{named}, with a carriage return at its end: the file has Windows line endings; to fix it, \
                 run `sed -i 's/\\r$//' {}`",
                quoted(&script.to_string_lossy())
            ));
        }
        match fs::metadata(interpreter) {
            Err(_) if !interpreter.is_absolute() => {
                Some(format!("{named}, which must be a whole path, such as /usr/bin/env"))
            }
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                Some(format!("{named}, which does not exist: install it, or change the line"))
            }
            Ok(other) if other.is_dir() => Some(format!("{named}, which is a directory")),
            _ if depth == 0 => None,
            _ => self.look_at(interpreter, error, depth - 1).map(|why| format!("{named}: {why}")),
        }
    }

    fn elf(&self, name: &str, machine: u16, loader: Option<&Path>) -> Option<String> {
        if let Some(own) = binary::own_machine().filter(|own| *own != machine) {
            return Some(format!(
                "{name} was built for {}, and this machine is {}",
                binary::machine_name(machine),
                binary::machine_name(own)
            ));
        }
        let loader = loader?;
        (!loader.exists()).then(|| {
            format!(
                "{name} needs the loader {}, which does not exist: the program was built for another \
                 distribution or C library",
                shown(loader)
            )
        })
    }
}

/// The daemon's own binary has its name in `/proc`.
fn real(path: &CStr) -> PathBuf {
    let path = Path::new(OsStr::from_bytes(path.to_bytes()));
    if path == Path::new("/proc/self/exe") {
        return fs::read_link(path).unwrap_or_else(|_| path.to_owned());
    }
    path.to_owned()
}
