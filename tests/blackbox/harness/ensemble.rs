//! A real ensemble: three servers, two of which are a quorum.

use super::etcd::Etcd;
use super::ports::free_port;
use super::server::Server;
use super::store::Store;
use super::wait::wait_for;
use super::zookeeper::ZooKeeper;

pub struct Ensemble {
    pub members: Vec<Box<dyn Server>>,
}

impl Ensemble {
    /// Starts three members and waits until all of them serve.
    #[track_caller]
    pub fn start(store: Store) -> Self {
        let members = match store {
            Store::Directory => panic!("a directory has no servers"),
            Store::ZooKeeper => ensemble_of_zookeepers(),
            Store::Etcd => Etcd::cluster(3).into_iter().map(|member| Box::new(member) as _).collect(),
        };
        let it = Self { members };
        it.members.iter().for_each(|member| member.launch());
        it.wait_until_serving();
        it
    }

    /// Waits until all members serve.
    #[track_caller]
    pub fn wait_until_serving(&self) {
        self.members.iter().for_each(|member| member.wait_until_serving());
    }

    /// The addresses of all members, up or down, as a client is given them.
    pub fn address(&self) -> String {
        addresses(self.members.iter().map(|member| &**member))
    }

    /// The addresses of all members but this one.
    pub fn address_without(&self, member: &dyn Server) -> String {
        addresses(self.others(member))
    }

    pub fn others(&self, member: &dyn Server) -> impl Iterator<Item = &dyn Server> {
        let address = member.address();
        self.members.iter().map(|other| &**other).filter(move |other| other.address() != address)
    }

    /// Waits for a leader and returns it. No member may be frozen, because asking a frozen one takes long.
    #[track_caller]
    pub fn leader(&self) -> &dyn Server {
        self.member_where("a leader", |member| member.leads())
    }

    /// Waits for a member with watches and returns it: the daemon is connected to this member if nobody else
    /// sets watches. No member may be frozen.
    #[track_caller]
    pub fn watched(&self) -> &dyn Server {
        self.member_where("the member that has the watches", |member| member.is_watched())
    }

    #[track_caller]
    fn member_where(&self, what: &str, wanted: impl Fn(&dyn Server) -> bool) -> &dyn Server {
        wait_for(what, || self.members.iter().map(|member| &**member).find(|member| wanted(*member)))
    }
}

fn addresses<'a>(members: impl Iterator<Item = &'a dyn Server>) -> String {
    members.map(|member| member.address()).collect::<Vec<_>>().join(",")
}

fn ensemble_of_zookeepers() -> Vec<Box<dyn Server>> {
    let numbers = 1..=3;
    let peers: String = numbers
        .clone()
        .map(|number| format!("server.{number}=127.0.0.1:{}:{}\n", free_port(), free_port()))
        .collect();
    numbers.map(|number| Box::new(ZooKeeper::member(number, &peers)) as _).collect()
}
