//! ZooKeeper's server.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Result;

const JAR: &str = "/usr/share/java/zookeeper.jar";
const MAIN: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";

pub(super) fn command(dir: &Path, port: u16) -> Result<Command> {
    if !Path::new(JAR).exists() {
        return Err("no ZooKeeper here: run tests/run".into());
    }
    let (config, data) = (dir.join("zoo.cfg"), dir.join("data"));
    fs::write(
        &config,
        format!(
            "tickTime=2000\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\n\
             admin.enableServer=false\n4lw.commands.whitelist=*\nmaxClientCnxns=0\n",
            data.display()
        ),
    )?;
    let mut command = Command::new("java");
    command.args(["-Xmx256m", "-cp", JAR, MAIN]).arg(config);
    Ok(command)
}

/// The number after `name` in an answer.
pub(super) fn number(answer: &str, name: &str) -> Result<usize> {
    let rest = answer.split_once(name).and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    rest.ok_or_else(|| format!("no {name} in ZooKeeper's answer: {answer}").into())
}
