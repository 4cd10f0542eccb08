//! A real ensemble: three ZooKeeper servers, of which any two can do without the third.

use super::wait::wait_for;
use super::zookeeper::{ZooKeeper, free_port};

pub struct Ensemble {
    pub members: Vec<ZooKeeper>,
}

impl Ensemble {
    /// Three members, all of them up.
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

    /// Of all members, whatever their state: what a client is given.
    pub fn address(&self) -> String {
        addresses(&self.members)
    }

    /// Of all members but this one.
    pub fn address_without(&self, member: &ZooKeeper) -> String {
        addresses(self.others(member))
    }

    pub fn others(&self, member: &ZooKeeper) -> impl Iterator<Item = &ZooKeeper> {
        self.members.iter().filter(move |other| other.address() != member.address())
    }

    /// The leader, as soon as there is one. No member may be frozen, as asking it takes long.
    #[track_caller]
    pub fn leader(&self) -> &ZooKeeper {
        self.member_where("a leader", ZooKeeper::leads)
    }

    /// The member that the daemon has connected to, if nobody else sets watches. No member may be frozen.
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
