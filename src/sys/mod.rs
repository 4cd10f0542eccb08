//! The only unsafe code of the crate: the steps between fork and exec, and the few system calls for which our
//! dependencies have no safe wrapper.
//!
//! * [`launch`] starts an action, and [`attempt`] can give a start up. [`setup`] prepares the child before it
//!   executes the program, with [`slot`], [`identity`], [`limits`] and [`step`].
//! * [`helper`] starts and ends a child that does a part of the daemon's work, [`confine`] takes the daemon's
//!   rights from it.
//! * [`children`] reaps what others left to this process.
//! * [`kernel`] finds out which system calls there are.
//! * [`stdio`] notes which standard streams were closed at the start.
//! * [`shares`] divides the descriptors that this process may have.
//! * [`blob`] makes files in memory that nobody can change, and gives them to actions.
//! * [`process`] and [`descriptors`] wrap single system calls, with [`syscall`].

mod attempt;
mod blob;
mod children;
mod confine;
mod descriptors;
mod helper;
mod identity;
pub mod kernel;
pub mod launch;
mod limits;
mod process;
mod setup;
mod shares;
mod slot;
mod stdio;
mod step;
mod syscall;

pub use attempt::Attempt;
pub use blob::{BlobWriter, MAX_BLOB, Piece, compose, open_blob, receive_blob, seal};
pub use children::{Reaper, note_own_child, reap_own_child};
pub use confine::{Confinement, HelperUser, confine, give_up_root};
pub use descriptors::{MAX_DESCRIPTORS, inherited, memfd};
pub use helper::Helper;
pub use kernel::inotify_remedy;
pub use process::{
    close_inherited, fork, make_undumpable, reset_inherited, signal_group, trim_memory,
    use_single_malloc_arena, watch_pipe, watch_process, watch_socket,
};
pub use setup::ChildSetup;
pub use shares::DescriptorShares;
pub use slot::{IDENTITY_BYTES, Slot};
pub use stdio::Stdio;
pub use step::{SetupError, Step};
