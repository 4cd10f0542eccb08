//! The only unsafe code of the crate: the steps between fork and exec, and the few system calls for which our
//! dependencies have no safe wrapper.
//!
//! * [`launch`] starts an action, and [`attempt`] can give a start up. [`setup`] prepares the child before it
//!   executes the program, with [`slot`], [`identity`], [`limits`] and [`step`].
//! * [`helper`] starts and ends a child that does a part of the daemon's work, [`confine`] takes the daemon's
//!   rights from it, and [`filter`] the system calls that its work does not need.
//! * [`children`] reaps what others left to this process.
//! * [`clock`] knows the time zone.
//! * [`signals`] unblocks the signals of a child.
//! * [`kernel`] finds out which system calls there are.
//! * [`stdio`] notes which standard streams were closed at the start.
//! * [`notify_socket`] sends to systemd without ever waiting for it.
//! * [`shares`] divides the descriptors that this process may have.
//! * [`blob`] makes files in memory that nobody can change, and gives them to actions.
//! * [`memory`] returns memory, and [`program`] the pages of the program itself.
//! * [`process`] and [`descriptors`] wrap single system calls, with [`syscall`].

mod alarm;
mod attempt;
mod blob;
mod children;
mod clock;
mod confine;
mod descriptors;
mod filter;
mod helper;
mod identity;
pub mod kernel;
pub mod launch;
mod limits;
mod memory;
mod notify_socket;
mod process;
mod program;
mod respondent;
mod setup;
mod shares;
mod signals;
mod slot;
mod stdio;
mod step;
mod syscall;

pub use alarm::Alarm;
pub use attempt::Attempt;
pub use blob::{
    BlobWriter, MAX_BLOB, Piece, compose, copy_blob, new_blob_file, open_blob, receive_blob, seal, seal_copy,
    take_blob_file,
};
pub use children::{Reaper, children, note_own_child, reap_own_child};
pub use clock::local_time;
pub use confine::{
    Confinement, HelperUser, can_pass_reading_on, confine, give_up_capabilities, give_up_root,
};
pub use descriptors::{MAX_DESCRIPTORS, inherited, memfd, name_unix_sockets};
pub use filter::{Work, allow_only, can_allow_only, stay_apart};
pub use helper::Helper;
pub use kernel::inotify_remedy;
pub use memory::FreeMemory;
pub use notify_socket::NotifySocket;
pub use process::{
    close_inherited, die_first, fork, make_undumpable, reset_inherited, reset_inherited_signals,
    signal_group, use_single_malloc_arena, watch_pipe, watch_process, watch_socket,
};
pub use respondent::{AskError, Respondent};
pub use setup::ChildSetup;
pub use shares::DescriptorShares;
pub use signals::unblock_signals_of;
pub use slot::{IDENTITY_BYTES, Slot};
pub use stdio::Stdio;
pub use step::{SetupError, Step};
