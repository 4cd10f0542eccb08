//! A ZooKeeper server with TLS that demands a client certificate and, if told so, a login.

use std::fs;
use std::path::PathBuf;

use super::certificates::{Authority, Certificate, Validity};
use super::ports::free_port;
use super::sandbox::Sandbox;
use super::server::Server;
use super::zookeeper::{JAAS, ZooKeeper};
use super::zookeeper_client::{Acl, ZooKeeperClient};

pub const USERNAME: &str = "twitcher";
pub const PASSWORD: &str = "s3cret/of+SASL";

/// The credentials for an `[[auth]]` block of the scheme `digest`.
pub const DIGEST: &str = "we:digest";

/// The passwords of the users `odd0`, `odd1` and so on.
pub const ODD_PASSWORDS: [&str; 6] = ["", " ", "a\\b\"c'", "пароль", "日本", "a,b=c;d:e"];

/// Whether the server refuses clients that do not log in by SASL.
#[derive(Clone, Copy)]
pub enum Login {
    Mandatory,
    Optional,
}

pub struct Secure {
    /// The server at its plaintext port, which takes four-letter commands.
    pub server: ZooKeeper,
    /// The certificate authority that server and clients trust.
    pub authority: Authority,
    port: u16,
}

impl Secure {
    /// Starts the server with a certificate for `localhost`.
    #[track_caller]
    pub fn start(login: Login) -> Self {
        Self::start_with(login, "")
    }

    /// Starts the server with these further lines in its `zoo.cfg`.
    #[track_caller]
    pub fn start_with(login: Login, more: &str) -> Self {
        let secure = Self::stopped(login, more);
        secure.server.up();
        secure
    }

    #[track_caller]
    fn stopped(login: Login, more: &str) -> Self {
        let port = free_port();
        let mandatory = match login {
            Login::Mandatory => {
                "sessionRequireClientSASLAuth=true\nenforce.auth.enabled=true\nenforce.auth.schemes=sasl\n"
            }
            Login::Optional => "",
        };
        let settings = format!(
            "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n\
             secureClientPort={port}\nsecureClientPortAddress=127.0.0.1\n\
             ssl.keyStore.location=HOME/server.pem\nssl.keyStore.type=PEM\n\
             ssl.trustStore.location=HOME/ca.pem\nssl.trustStore.type=PEM\n\
             authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n{mandatory}{more}"
        );
        let server = ZooKeeper::with_settings(&settings);
        let odd = ODD_PASSWORDS.into_iter().enumerate();
        let odd: String = odd.map(|(number, password)| format!(" user_odd{number}={password:?}")).collect();
        let logins = format!(
            "Server {{ org.apache.zookeeper.server.auth.DigestLoginModule required \
             user_{USERNAME}={PASSWORD:?}{odd}; }};\n"
        );
        fs::write(server.home().join(JAAS), logins).expect("write the logins");
        let secure = Self { server, authority: Authority::new("good"), port };
        secure.trust(&secure.authority);
        secure.certify(&secure.authority.issue(&["localhost"], Validity::Now));
        secure
    }

    /// Creates a node that only clients with the credentials [`DIGEST`] can read or write.
    pub fn create_for_digest(&self, node: &str) {
        // The name and the digest that DigestAuthenticationProvider.generateDigest makes of these
        // credentials.
        let acl = Acl::Of("digest", "we:4FExkxIoRrW/yAAy7hC8cHbFqQ8=");
        let mut client = ZooKeeperClient::connect(&self.server.address(), "");
        client.log_in(USERNAME, PASSWORD).expect("log in");
        client.create(node, b"0", acl).expect("create the node");
    }

    /// Accepts clients with certificates of this authority from its next start on.
    pub fn trust(&self, authority: &Authority) {
        fs::write(self.server.home().join("ca.pem"), authority.pem()).expect("write the CA");
    }

    /// Shows this certificate from its next start on.
    pub fn certify(&self, certificate: &Certificate) {
        let Certificate { chain, key } = certificate;
        fs::write(self.server.home().join("server.pem"), format!("{key}{chain}"))
            .expect("write a certificate");
    }

    pub fn restart(&self) {
        self.server.down();
        self.server.up();
    }

    /// The address of its TLS port, with this name or address of the machine.
    pub fn address(&self, host: &str) -> String {
        format!("{host}:{}", self.port)
    }

    /// Writes CA, certificate and key for a client. Returns the settings that name them, with a login.
    pub fn settings(&self, sandbox: &Sandbox) -> String {
        format!("{}{}", self.tls(sandbox), login(PASSWORD))
    }

    /// Writes CA, certificate and key for a client. Returns the settings that name them.
    pub fn tls(&self, sandbox: &Sandbox) -> String {
        let [ca, cert, key] = paths(sandbox);
        fs::write(&ca, self.authority.pem()).expect("write the CA");
        identify(sandbox, &self.authority.issue(&[], Validity::Now));
        format!("[tls]\nca = {ca:?}\ncert = {cert:?}\nkey = {key:?}\n")
    }
}

/// Writes the client's certificate and key.
pub fn identify(sandbox: &Sandbox, certificate: &Certificate) {
    let [_, cert, key] = paths(sandbox);
    fs::write(cert, &certificate.chain).expect("write a certificate");
    sandbox.private(&key, &certificate.key);
}

pub fn login(password: &str) -> String {
    format!("[sasl]\nusername = {USERNAME:?}\npassword = {password:?}\n")
}

/// The paths of the client's CA, certificate and key.
pub fn paths(sandbox: &Sandbox) -> [PathBuf; 3] {
    ["ca.pem", "client.pem", "client.key"].map(|name| sandbox.root().join(name))
}
