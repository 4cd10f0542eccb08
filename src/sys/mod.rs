//! The only unsafe code of the crate: the steps between fork and exec, and the few system calls for which our
//! dependencies have no safe wrapper.
//!
//! * [`launch`] starts an action; [`setup`] prepares the child before it executes the program, with
//!   [`identity`], [`limits`] and [`step`].
//! * [`evaluator`] confines the child that evaluates configs.
//! * [`kernel`] finds out which system calls there are.
//! * [`process`] and [`descriptors`] wrap single system calls, with [`syscall`].

mod descriptors;
mod evaluator;
mod identity;
pub mod kernel;
pub mod launch;
mod limits;
mod process;
mod setup;
mod step;
mod syscall;

pub use descriptors::{MAX_DESCRIPTORS, inherited, memfd};
pub use evaluator::confine_evaluator;
pub use process::{
    fork, make_undumpable, reset_inherited_signals, signal_group, use_single_malloc_arena, watch_process,
};
pub use setup::ChildSetup;
pub use step::{SetupError, Step};
