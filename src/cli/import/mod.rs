//! `twitcher import [FILE]`
//!
//! Everything is read twice: [`check`] reads it before anything is written, and then it is written, some
//! nodes at a time. [`records`] reads the format, and [`progress`] says how far it is.

mod check;
mod progress;
mod records;

use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::SyncSender;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::task::spawn_blocking;

use super::shared::exit::{Exit, print_error};
use super::shared::signals;
use super::shared::stdout::{line, print};
use super::shared::store::{StoreConnection, with_client};
use crate::model::NodePath;
use crate::store::{Client, ClientError, Emptied, Entry, Fate, Parents, StoreSettings, Visited, Walked};
use crate::sys::Stdio;
use check::{Checked, Largest, Mapping, check};
use progress::Progress;

/// Write nodes that `twitcher export` wrote into a store
///
/// Reads JSON objects, one a line or in an array, with znode and data or base64. All of it is checked before
/// anything is written. Nodes that are the same already are not written, so that a second import changes
/// nothing, and the same command goes on where an interrupted one stopped. ACLs are not carried.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// The file; without it, or with -, stdin
    file: Option<PathBuf>,
    #[command(flatten)]
    store: StoreConnection,
    /// Put NODE in the place of the node of the first line, and the others below it
    #[arg(long, value_name = "NODE", value_parser = NodePath::parse)]
    at: Option<NodePath>,
    /// Remove what is below that node and not in the file, except nodes that live as long as a session or a
    /// lease. Use `set -o pipefail` with a pipe, or check that the export succeeded: nodes that it could not
    /// read are removed
    #[arg(long)]
    mirror: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// How many nodes are written at a time, and how many bytes of data; a single node can have more.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 4 << 20;

impl Import {
    pub fn run(self) -> Exit {
        // Root opens the file, and is root no more when it reads it.
        let (name, input) = self.open()?;
        let settings = self.store.settings(None)?;
        if let Some(note) = settings.note_on_import() {
            print_error(format_args!("note: {note}"));
        }
        let checked = check(input, &name, &settings, self.at.as_ref(), self.mirror)?;
        let Some(checked) = checked else {
            return Err(format!("{name} has no nodes; nothing was changed").into());
        };
        let mut progress = Progress::new(checked.nodes, self.dry_run);
        let done = with_client(&settings, async |client| {
            let mut signals = signals::receive(&[SIGINT, SIGTERM])?;
            tokio::select! {
                done = self.import(client, &settings, &name, checked, &mut progress) => done,
                _ = signals.recv() => Err("interrupted".into()),
            }
        });
        progress.clear();
        match done {
            Ok(()) => {
                print(&line(&progress.to_string()))?;
                Ok(ExitCode::SUCCESS)
            }
            Err(error) if !progress.has_begun() => Err(error),
            Err(error) => Err(format!("{}; {}", reason(&*error), progress.incomplete()).into()),
        }
    }

    fn open(&self) -> Result<(String, File), Box<dyn Error>> {
        match &self.file {
            Some(file) if file.as_os_str() != "-" => {
                let name = file.display().to_string();
                let opened = File::open(file).map_err(|error| format!("cannot read {name}: {error}"))?;
                Ok((name, opened))
            }
            Some(_) | None => {
                if Stdio::Stdin.was_closed() {
                    return Err("stdin is closed; give FILE".into());
                }
                Ok(("stdin".to_owned(), File::from(io::stdin().as_fd().try_clone_to_owned()?)))
            }
        }
    }

    async fn import(
        &self,
        client: &Client,
        settings: &StoreSettings,
        name: &str,
        checked: Checked,
        progress: &mut Progress,
    ) -> Result<(), Box<dyn Error>> {
        if let Some(Largest { node, size, said }) = &checked.largest
            && !client.takes(node, &vec![b' '; *size]).await?
        {
            return Err(said.clone().into());
        }
        if !settings.parents_have_data() {
            let mut emptied = Emptied::default();
            each_batch(&checked, name, async |batch| {
                client.check_all(&batch, self.mirror, &mut emptied).await.map_err(untouched)
            })
            .await?;
        }
        if self.mirror {
            self.remove_others(client, settings, &checked, progress).await?;
        }
        let mut parents = Parents::default();
        each_batch(&checked, name, async |batch| {
            progress.begin(batch.len());
            let fates = client.put_all(&batch, self.dry_run, &mut parents).await?;
            let mut said = String::new();
            for (entry, fate) in batch.iter().zip(fates) {
                progress.count(fate);
                match fate {
                    Fate::Created if self.dry_run => said += &line(&format!("create {}", entry.node)),
                    Fate::Changed if self.dry_run => said += &line(&format!("change {}", entry.node)),
                    Fate::Same | Fate::Created | Fate::Changed => {}
                }
            }
            progress.looked_at(batch.len());
            progress.end();
            if !said.is_empty() {
                // Whoever reads it may take long.
                client.idle(spawn_blocking(move || print(&said))).await??;
            }
            progress.show();
            Ok(())
        })
        .await
    }

    /// Removes what is at or below the target and not in the file. A node that others in the file need for a
    /// parent loses its data, as does the target itself where each parent is a node.
    async fn remove_others(
        &self,
        client: &Client,
        settings: &StoreSettings,
        checked: &Checked,
        progress: &mut Progress,
    ) -> Result<(), Box<dyn Error>> {
        let (root, paths) = (&checked.mapping.target, &checked.paths);
        let (mut others, mut parents, mut unreadable) = (Vec::new(), Vec::new(), None);
        let walked = client
            .walk(root, false, &mut |walked| {
                match walked {
                    // Also before the file empties it itself: it may do that after it has what is below.
                    Walked::Node { path, .. } if !settings.parents_have_data() && paths.are_below(&path) => {
                        parents.push(path);
                    }
                    Walked::Node { path, .. } if paths.lists(&path) => {}
                    Walked::Node { path, .. }
                        if settings.parents_are_nodes() && (path == *root || paths.are_below(&path)) =>
                    {
                        parents.push(path);
                    }
                    // No key has version 0.
                    Walked::Node { path, version: 0, .. } if path == *root => {}
                    Walked::Node { path, .. } => others.push(path),
                    Walked::Unreadable { path, reason } => unreadable = Some((path, reason)),
                    Walked::Fleeting(_) | Walked::NoNode => {}
                }
                if unreadable.is_none() { Visited::GoOn } else { Visited::End }
            })
            .await;
        match walked {
            Ok(()) => {}
            Err(ClientError::Missing { .. } | ClientError::NoRoot { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if let Some((path, reason)) = unreadable {
            return Err(
                format!("node {path}: {reason}, so --mirror cannot tell what is to be removed").into()
            );
        }
        let emptied: Vec<_> = parents.into_iter().map(|node| Entry { node, data: Vec::new() }).collect();
        client.check_all(&emptied, true, &mut Emptied::default()).await.map_err(untouched)?;
        client.check_removal(&others).await.map_err(untouched)?;
        self.empty(client, &emptied, progress).await?;
        // Those below others first.
        others.sort_by_cached_key(|path| std::cmp::Reverse(path.components().count()));
        if self.dry_run {
            let said: String = others.iter().map(|path| line(&format!("remove {path}"))).collect();
            client.idle(spawn_blocking(move || print(&said))).await??;
            progress.removed(others.len() as u64);
            return Ok(());
        }
        for some in others.chunks(BATCH) {
            progress.begin(some.len());
            let left = client.remove_all(some).await?;
            progress.removed((some.len() - left.len()) as u64);
            progress.end();
            for path in left {
                print_error(format_args!(
                    "note: node {path} is not in the file and stays, because it has children that stay"
                ));
            }
            progress.show();
        }
        Ok(())
    }

    /// Takes their data from the nodes of these entries, as far as they have any.
    async fn empty(
        &self,
        client: &Client,
        entries: &[Entry],
        progress: &mut Progress,
    ) -> Result<(), Box<dyn Error>> {
        for some in entries.chunks(BATCH) {
            progress.begin(some.len());
            let fates = client.put_all(some, self.dry_run, &mut Parents::default()).await?;
            for (entry, fate) in some.iter().zip(fates).filter(|(_, fate)| *fate != Fate::Same) {
                progress.count(fate);
                if self.dry_run {
                    print(&line(&format!("change {}", entry.node)))?;
                }
            }
            progress.end();
            progress.show();
        }
        Ok(())
    }
}

/// Words an error of a store that was only looked at.
fn untouched(error: ClientError) -> Box<dyn Error> {
    format!("{error}; nothing was changed").into()
}

/// Why an import failed that had begun. What an error says of one node does not hold for all of them.
fn reason(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref() {
        Some(ClientError::TooLarge { node, store, size, limit }) => {
            format!("{size} bytes are too many for node {node} in {store}. {limit}")
        }
        Some(_) | None => error.to_string(),
    }
}

/// Reads the lines from the beginning, and has their nodes taken in batches.
async fn each_batch(
    checked: &Checked,
    name: &str,
    mut take: impl AsyncFnMut(Vec<Entry>) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut lines = checked.lines.try_clone()?;
    lines.rewind()?;
    let (sender, batches) = std::sync::mpsc::sync_channel(1);
    let (name, mapping) = (name.to_owned(), checked.mapping.clone());
    // Read on a thread of its own, so that the store is not waited for in the meantime.
    let reader = thread::Builder::new().name("reader".into());
    reader.spawn(move || send_batches(lines, &name, &mapping, &sender))?;
    let mut batches = Some(batches);
    while let Some(receiver) = batches.take() {
        let received = spawn_blocking(move || (receiver.recv(), receiver)).await?;
        let (Ok(batch), receiver) = received else { break };
        take(batch?).await?;
        batches = Some(receiver);
    }
    Ok(())
}

type Batch = Result<Vec<Entry>, String>;

/// Reads the lines again, and sends the nodes in batches until nobody takes them any more.
fn send_batches(lines: File, name: &str, mapping: &Mapping, sender: &SyncSender<Batch>) {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let read = records::each(BufReader::new(lines), name, &mut |_, _, record| {
        let node = mapping.map(&record.node).ok_or("the file has changed since it was checked")?;
        let Some(data) = record.data else { return Ok(()) };
        if batch.len() == BATCH || bytes + data.len() > BATCH_BYTES && !batch.is_empty() {
            sender.send(Ok(std::mem::take(&mut batch))).map_err(|_| "it is of no use any more")?;
            bytes = 0;
        }
        bytes += data.len();
        batch.push(Entry { node, data });
        Ok(())
    });
    let _ = match read {
        Ok(()) if batch.is_empty() => Ok(()),
        Ok(()) => sender.send(Ok(batch)),
        Err(error) => sender.send(Err(error)),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_that_has_begun_does_not_say_that_nothing_was_changed() {
        let node = NodePath::parse("/n").unwrap();
        let error = ClientError::TooLarge { node, store: "etcd://e".into(), size: 5, limit: "Less.".into() };
        assert!(error.to_string().contains("nothing was changed"));
        assert_eq!(reason(&error), "5 bytes are too many for node /n in etcd://e. Less.");
    }
}
