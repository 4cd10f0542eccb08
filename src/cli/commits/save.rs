//! `twitcher commits save KEY [FILE|-]`

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;

use super::api::Draft;
use super::saving::{SavingArgs, next, save};
use crate::cli::shared::exit::Exit;
use crate::cli::shared::number;
use crate::commits::Key;
use crate::model::Commit;
use crate::sys::Stdio;

/// Save the next version of a key
///
/// The newest version is read first, then the payload. If somebody else has saved a version by the end,
/// nothing is saved, and the command exits with 3.
#[derive(Debug, clap::Args)]
pub struct Save {
    #[arg(value_parser = Key::parse)]
    key: Key,
    /// The file with the payload; - is stdin
    #[arg(value_name = "FILE|-", default_value = "-")]
    file: PathBuf,
    /// The version to save: N, if the newest is N - 1. Otherwise exit with 3
    #[arg(long, value_name = "N", value_parser = number::at_least(1_i64), allow_hyphen_values = true)]
    version: Option<i64>,
    /// The payload may be empty
    #[arg(long)]
    empty: bool,
    #[command(flatten)]
    saving: SavingArgs,
}

impl Save {
    pub fn run(self) -> Exit {
        let Self { key, saving, .. } = &self;
        // As the user who asks: root's process will be another one when it connects.
        let file = self.open()?;
        saving.save_with(async |client, author| {
            let head = match self.version {
                Some(_) => None,
                None => client.meta(key, None).await?,
            };
            let payload = Some(self.payload(file)?.into());
            let version = self.version.unwrap_or_else(|| next(head.as_ref()));
            let draft = Draft { key, version, author, comment: &saving.comment, payload };
            save(client, &draft, head.as_ref()).await
        })
    }

    fn open(&self) -> Result<File, String> {
        let opened = match self.file.as_os_str() == "-" {
            false => File::open(&self.file),
            // The standard library takes a stdin that is closed for an empty one.
            true if Stdio::Stdin.was_closed() => Err(io::Error::other("it is closed")),
            true => io::stdin().as_fd().try_clone_to_owned().map(File::from),
        };
        opened.map_err(|error| format!("{}: {error}; nothing was saved", self.source()))
    }

    fn payload(&self, file: File) -> Result<Vec<u8>, Box<dyn Error>> {
        let (key, source) = (&self.key, self.source());
        let mut payload = Vec::new();
        let read = file.take(Commit::MAX_PAYLOAD as u64 + 1).read_to_end(&mut payload);
        read.map_err(|error| format!("{source}: {error}; nothing was saved"))?;
        if payload.len() > Commit::MAX_PAYLOAD {
            return Err(format!(
                "{source} has more than {} bytes (1 MiB), the most that a payload has; nothing \
                 was saved",
                Commit::MAX_PAYLOAD
            )
            .into());
        }
        // A pipe that came out empty by accident must not empty what a whole fleet watches.
        if payload.is_empty() && !self.empty {
            return Err(format!(
                "{source} was empty, so nothing was saved; if the payload of {key} is to be empty, add \
                 --empty"
            )
            .into());
        }
        Ok(payload)
    }

    fn source(&self) -> String {
        match self.file.as_os_str() == "-" {
            true => "stdin".to_owned(),
            false => self.file.display().to_string(),
        }
    }
}
