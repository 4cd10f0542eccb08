//! A real ensemble: three ZooKeeper servers, two of which are a quorum.

use super::wait::wait_for;
use super::zookeeper::{ZooKeeper, free_port};

pub struct Ensemble {
    pub members: Vec<ZooKeeper>,
}

impl Ensemble {
    /// Starts three members and waits until all of them serve.
    #[track_caller]
    pub fn start() -> Self {
        let numbers = 1..=3;
        let peers: String = numbers
            .clone()
            .map(|number| format!("server.{number}=127.0.0.1:{}:{}\n", free_port(), free_port()))
            .collect();
        let members: Vec<_> = numbers.map(|number| ZooKeeper::member(number, &peers)).collect();
        members.iter().for_each(ZooKeeper::launch);
        members.iter().for_each(ZooKeeper::wait_until_serving);
        Self { members }
    }

    /// The addresses of all members, up or down, as a client is given them.
    pub fn address(&self) -> String {
        addresses(&self.members)
    }

    /// The addresses of all members but this one.
    pub fn address_without(&self, member: &ZooKeeper) -> String {
        addresses(self.others(member))
    }

    pub fn others(&self, member: &ZooKeeper) -> impl Iterator<Item = &ZooKeeper> {
        self.members.iter().filter(move |other| other.address() != member.address())
    }

    /// Waits for a leader and returns it. No member may be frozen, because asking a frozen one takes long.
    #[track_caller]
    pub fn leader(&self) -> &ZooKeeper {
        self.member_where("a leader", ZooKeeper::leads)
    }

    /// Waits for a member with watches and returns it: the daemon is connected to this member if nobody else
    /// sets watches. No member may be frozen.
    #[track_caller]
    pub fn watched(&self) -> &ZooKeeper {
        self.member_where("the member that has the watches", ZooKeeper::is_watched)
    }

    #[track_caller]
    fn member_where(&self, what: &str, wanted: impl Fn(&ZooKeeper) -> bool) -> &ZooKeeper {
        wait_for(what, || self.members.iter().find(|member| wanted(member)))
    }
}

fn addresses<'a>(members: impl IntoIterator<Item = &'a ZooKeeper>) -> String {
    members.into_iter().map(ZooKeeper::address).collect::<Vec<_>>().join(",")
}
