use super::*;

fn parsed(text: &str) -> ServerAddress {
    ServerAddress::parse(text).expect("a server's scheme").unwrap_or_else(|why| panic!("{text}: {why}"))
}

fn refused(text: &str) -> String {
    let refused = ServerAddress::parse(text).expect("a server's scheme");
    refused.err().unwrap_or_else(|| panic!("{text} was taken"))
}

fn tcp(host: &str, port: u16, tls: Encryption) -> Place {
    Place::Tcp { host: host.to_owned(), port, tls }
}

const SYSTEM: Encryption = Encryption::Verified { ca: None };

#[test]
fn an_address_has_a_user_a_place_and_a_database() {
    let address = parsed("postgres://eva:p%40ss%2F%25@db.example:5433/commits");
    assert_eq!(address.kind, ServerKind::PostgreSql);
    assert_eq!(address.place, tcp("db.example", 5433, SYSTEM));
    assert_eq!((&*address.user, &*address.database), ("eva", "commits"));
    assert_eq!(address.password, Some(Secret::Inline("p@ss/%".to_owned())));
    assert_eq!(parsed("mysql://eva@db/c").place, tcp("db", 3306, SYSTEM));
    assert_eq!(parsed("mariadb://eva@[::1]/c").place, tcp("::1", 3306, Encryption::None));
    assert_eq!(parsed("postgresql://eva@localhost/c").place, tcp("localhost", 5432, Encryption::None));
    assert_eq!(parsed("postgresql://eva@127.0.0.2:1/c").place, tcp("127.0.0.2", 1, Encryption::None));
}

#[test]
fn a_socket_is_an_option_or_a_host_that_is_a_path() {
    let socket = Place::Socket("/run/postgresql/.s.PGSQL.5433".into());
    for text in ["postgres://eva@:5433/c?host=/run/postgresql", "postgres://eva@%2Frun%2Fpostgresql:5433/c"] {
        assert_eq!(parsed(text).place, socket, "{text}");
    }
    let socket = Place::Socket("/run/mysqld/mysqld.sock".into());
    assert_eq!(parsed("mysql://eva@/c?socket=/run/mysqld/mysqld.sock").place, socket);
}

#[test]
fn encryption_means_that_the_server_is_known_and_is_usual_for_other_machines() {
    let ca = || Encryption::Verified { ca: Some("/ca.pem".into()) };
    for (text, tls) in [
        ("postgres://eva@db/c?sslmode=disable", Encryption::None),
        ("postgres://eva@db/c?sslmode=verify-full", SYSTEM),
        ("postgres://eva@db/c?sslmode=verify-full&sslrootcert=/ca.pem", ca()),
        ("postgres://eva@localhost/c?sslrootcert=/ca.pem", ca()),
        ("mysql://eva@db/c?ssl-mode=disabled", Encryption::None),
        ("mysql://eva@localhost/c?ssl-mode=VERIFY_IDENTITY&ssl-ca=/ca.pem", ca()),
    ] {
        let Place::Tcp { tls: found, .. } = parsed(text).place else { panic!("{text}") };
        assert_eq!(found, tls, "{text}");
    }
    for text in ["postgres://eva@db/c?sslmode=require", "mysql://eva@db/c?ssl-mode=PREFERRED"] {
        let why = refused(text);
        assert!(why.contains("would not make sure that nobody stands in between"), "{why}");
    }
    for text in [
        "postgres://eva@db/c?sslmode=disable&sslrootcert=/ca.pem",
        "postgres://eva@db/c?sslrootcert=ca.pem",
        "postgres://eva@/c?host=/run&sslmode=verify-full",
        "postgres://eva@db/c?ssl-mode=disabled",
        "postgres://eva@db/c?host=/run",
        "postgres://eva@/c?host=run",
        "postgres://eva@/c",
    ] {
        refused(text);
    }
}

#[test]
fn what_is_wrong_is_told_without_the_password() {
    for text in [
        "postgres://eva:hunter2/x@db/c",
        "postgres://eva:hunter2@db",
        "postgres://eva:hunter2%@db/c",
        "postgres://eva:hunter2?x@db/c",
        "postgres://:hunter2@db/c",
        "postgres://eva:hunter2@db:x/c",
        "mysql://eva:hunter2@[::1/c",
        "mysql://eva:hunter2@db/",
    ] {
        let why = refused(text);
        assert!(!why.contains("hunter"), "{text}: {why}");
        assert!(has_password(text) || !text.contains('@'), "{text}");
    }
    let address = parsed("mysql://eva:hunter2@db/c");
    assert_eq!(address.to_string(), "mysql://eva@db:3306/c");
    assert!(!format!("{address:?}").contains("hunter"));
    assert!(!has_password("mysql://eva@db/c") && !has_password("sqlite:/a:b@c"));
}
