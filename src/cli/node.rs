//! The client commands: `get`, `set`, `poke`, `ls` and `rm`. Each ends within the session timeout.

use std::future::Future;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use super::{StoreArgs, fail, report_settings_error};
use crate::model::NodePath;
use crate::settings::client_store;
use crate::store::{Client, ClientError, StoreSettings};

pub fn get(store: StoreArgs, node: &NodePath) -> ExitCode {
    with_client(store, async |client| print(&client.get(node).await?))
}

pub fn set(store: StoreArgs, node: &NodePath, data: Option<String>) -> ExitCode {
    let data = match data.as_deref() {
        None => Vec::new(),
        // Read before anything is connected: the session must not wait for somebody's keyboard.
        Some("-") => {
            let mut data = Vec::new();
            if let Err(error) = io::stdin().lock().read_to_end(&mut data) {
                return fail(format_args!("cannot read the data from stdin: {error}"));
            }
            data
        }
        Some(text) => text.as_bytes().to_owned(),
    };
    with_client(store, async |client| Ok(client.set(node, &data).await?))
}

pub fn poke(store: StoreArgs, node: &NodePath) -> ExitCode {
    with_client(store, async |client| Ok(client.poke(node).await?))
}

pub fn ls(store: StoreArgs, node: &NodePath) -> ExitCode {
    with_client(store, async |client| {
        let names: String = client.ls(node).await?.into_iter().flat_map(|name| [name, "\n".into()]).collect();
        print(names.as_bytes())
    })
}

pub fn rm(store: StoreArgs, node: &NodePath, recursive: bool) -> ExitCode {
    with_client(store, async |client| Ok(client.rm(node, recursive).await?))
}

fn print(bytes: &[u8]) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    Ok(stdout.write_all(bytes).and_then(|()| stdout.flush())?)
}

#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot write to stdout: {0}")]
    Stdout(#[from] io::Error),
}

fn with_client(args: StoreArgs, command: impl AsyncFnOnce(&Client) -> Result<(), CommandError>) -> ExitCode {
    let settings = match client_store(&args.flags()) {
        Ok(settings) => settings,
        Err(error) => return report_settings_error(error),
    };
    let run = async {
        let client = Client::connect(&settings).await?;
        let done = command(&client).await;
        client.close().await;
        done
    };
    match block_on(run, &settings) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(error),
        Err(error) => fail(error),
    }
}

fn block_on<T>(work: impl Future<Output = T>, settings: &StoreSettings) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let within = async {
        tokio::time::timeout(settings.session_timeout, work).await.map_err(|_| {
            let seconds = settings.session_timeout.as_secs_f64();
            io::Error::other(format!("{}: no answer within {seconds} s", settings.url))
        })
    };
    let done = tokio::task::LocalSet::new().block_on(&runtime, within);
    // Not dropped: that would wait for a resolver that hangs.
    runtime.shutdown_background();
    done
}
