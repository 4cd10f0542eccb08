//! `twitcher register SERVICE ADDRESS [-- COMMAND [ARG]...]`: holds a member of a service while a command
//! runs.
//!
//! * [`args`] are the arguments, and the member that they tell of; [`data`] reads what it says of itself.
//! * [`hold`] is the loop: what the command, its checks, the signals and the keeper lead to.
//! * [`check`] runs a health check, and [`signals`] receives the signals that go on to the command.

mod args;
mod check;
mod data;
mod hold;
mod signals;

use super::shared::exit::Exit;
use super::shared::reaper;
use super::shared::runtime::block_on;
pub use args::Register;
use hold::Holder;

impl Register {
    pub fn run(self) -> Exit {
        let path = self.path()?;
        // What the format cannot express is said before anything is started.
        self.member(&path, 0)?;
        let settings = self.connection.settings_of_another()?;
        settings.require_directory(&path)?;
        let signals = signals::receive()?;
        reaper::start()?;
        block_on(Holder::new(&self, path).hold(settings, signals))?
    }
}
