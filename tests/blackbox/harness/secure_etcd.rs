//! Servers of etcd that demand a login and, if told so, TLS with a client certificate.

use std::fs;

use super::certificates::{Authority, Validity};
use super::etcd::Etcd;
use super::etcd_client::EtcdClient;
use super::ports::free_port;
use super::sandbox::Sandbox;
use super::secure::{identify, paths};
use super::server::Server;

/// Below this prefix the daemon's user may read and write.
pub const PREFIX: &str = "/app";

const USERNAME: &str = "twitcher";
const ROOT: &str = "root-s3cret";
pub const PASSWORD: &str = "s3cret/of+etcd";

pub struct SecureEtcd {
    pub members: Vec<Etcd>,
    pub authority: Authority,
    /// The port for TLS of each member.
    ports: Vec<u16>,
}

impl SecureEtcd {
    /// Starts this many members with these further flags. All of them demand a login.
    #[track_caller]
    pub fn start(size: usize, flags: &[&str]) -> Self {
        let authority = Authority::new("good");
        let members = Etcd::cluster(size);
        let ports: Vec<_> = members.iter().map(|_| free_port()).collect();
        let members = members.into_iter().zip(&ports).map(|(member, port)| {
            let certificate = authority.issue(&["localhost", "127.0.0.1"], Validity::Now);
            for (name, pem) in [
                ("ca.pem", authority.pem()),
                ("server.pem", &certificate.chain),
                ("server.key", &certificate.key),
            ] {
                fs::write(member.home().join(name), pem).expect("write a certificate");
            }
            let plain = member.address();
            let listen = format!("--listen-client-urls=http://{plain},https://127.0.0.1:{port}");
            member.with(&[
                &listen,
                "--client-cert-auth",
                "--trusted-ca-file=HOME/ca.pem",
                "--cert-file=HOME/server.pem",
                "--key-file=HOME/server.key",
                // Less work for each login.
                "--bcrypt-cost=4",
            ])
        });
        let members: Vec<_> = members.map(|member| member.with(flags)).collect();
        members.iter().for_each(Server::launch);
        members.iter().for_each(Server::wait_until_serving);
        let it = Self { members, authority, ports };
        it.protect();
        it
    }

    /// Has it demand a login, and lets the daemon's user read and write below the prefix.
    fn protect(&self) {
        let server = &self.members[0];
        server.ctl(["user", "add", &format!("root:{ROOT}")]);
        server.ctl(["user", "grant-role", "root", "root"]);
        server.ctl(["role", "add", "app"]);
        server.ctl(["user", "add", &format!("{USERNAME}:{PASSWORD}")]);
        server.ctl(["user", "grant-role", USERNAME, "app"]);
        server.ctl(["role", "grant-permission", "app", "readwrite", PREFIX, "--prefix=true"]);
        server.ctl(["auth", "enable"]);
    }

    /// Runs etcdctl as root, on all members, whichever of them is up.
    #[track_caller]
    pub fn as_root<const N: usize>(&self, args: [&str; N]) {
        let user = format!("--user=root:{ROOT}");
        let args: Vec<_> = [user.as_str()].into_iter().chain(args).collect();
        super::etcd::etcdctl(&self.plaintext_address(), &args);
    }

    /// Takes the right to this key from the daemon's user.
    #[track_caller]
    pub fn revoke(&self) {
        self.as_root(["role", "revoke-permission", "app", PREFIX, "--prefix=true"]);
    }

    #[track_caller]
    pub fn grant(&self) {
        self.as_root(["role", "grant-permission", "app", "readwrite", PREFIX, "--prefix=true"]);
    }

    #[track_caller]
    pub fn set_password(&self, password: &str) {
        let user = format!("--user=root:{ROOT}");
        let member = &self.members[0];
        member.ctl_with_input([&user, "user", "passwd", USERNAME, "--interactive=false"], password);
    }

    /// Removes the daemon's user.
    #[track_caller]
    pub fn remove_user(&self) {
        self.as_root(["user", "delete", USERNAME]);
    }

    /// Adds it again.
    #[track_caller]
    pub fn add_user(&self) {
        self.as_root(["user", "add", &format!("{USERNAME}:{PASSWORD}")]);
        self.as_root(["user", "grant-role", USERNAME, "app"]);
    }

    /// A client below the prefix, as root.
    pub fn client(&self) -> EtcdClient {
        EtcdClient::new(&self.plaintext_address(), PREFIX).with_user("root", ROOT)
    }

    /// The addresses of all members, with TLS and the name in their certificates.
    pub fn address(&self) -> String {
        self.ports.iter().map(|port| format!("localhost:{port}")).collect::<Vec<_>>().join(",")
    }

    /// The addresses of all members without TLS. They demand a login all the same.
    pub fn plaintext_address(&self) -> String {
        self.members.iter().map(Server::address).collect::<Vec<_>>().join(",")
    }

    /// Writes CA, certificate and key for a client, and the settings that name them, with a login.
    pub fn configure(&self, sandbox: &Sandbox) {
        let [ca, cert, key] = paths(sandbox);
        fs::write(&ca, self.authority.pem()).expect("write the CA");
        identify(sandbox, &self.authority.issue(&[], Validity::Now));
        let tls = format!("[tls]\nca = {ca:?}\ncert = {cert:?}\nkey = {key:?}\n");
        sandbox.settings(&format!("{tls}{}", login(PASSWORD)));
    }
}

/// The settings of the daemon's user with this password.
pub fn login(password: &str) -> String {
    format!("[etcd]\nusername = {USERNAME:?}\npassword = {password:?}\n")
}
