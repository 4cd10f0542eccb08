//! "An OpenAPI file that a test holds against the routes."

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::harness::CommitServer;

const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

/// The document with what its `$ref`s name.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(pointer) => {
            let found = document.pointer(pointer.strip_prefix('#').expect("a pointer in the document"));
            resolved(document, found.unwrap_or_else(|| panic!("{pointer} leads nowhere")))
        }
        None => value,
    }
}

fn every_reference_leads_somewhere(document: &Value, value: &Value) {
    match value {
        Value::Object(fields) => {
            resolved(document, value);
            fields.values().for_each(|value| every_reference_leads_somewhere(document, value));
        }
        Value::Array(elements) => {
            elements.iter().for_each(|value| every_reference_leads_somewhere(document, value));
        }
        _ => {}
    }
}

#[test]
fn what_the_document_promises_is_what_the_server_does() {
    let server = CommitServer::diary("");
    server.save("foo", 1, b"x");
    let document = server.get("/-/openapi.json").json();
    every_reference_leads_somewhere(&document, &document);
    let manual = include_str!("../../../docs/man/twitcher-serve.1.md");
    let filled = |path: &str, version: &str| {
        path.replace("{namespace}", "diary").replace("{key}", "foo").replace("{version}", version)
    };
    let mut statuses: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let told =
            path.replace("{namespace}", "NAME").replace("{key}", "KEY").replace("{version}", "VERSION");
        assert!(manual.contains(&format!("`{told}`")), "the manual does not name {told}");
        for method in METHODS {
            let operation = &operations[method.to_lowercase()];
            let headers = [("X-Rainer-Author", "eva")];
            let version = if method == "POST" { "2" } else { "1" };
            let asked = server.ask(method, &filled(path, version), &headers, b"");
            if operation.is_null() {
                assert_eq!(asked.status, 405, "{method} {path} is not in the document");
                let allowed = asked.header("allow").unwrap().to_owned();
                let told: Vec<_> = METHODS
                    .into_iter()
                    .filter(|method| !operations[method.to_lowercase()].is_null())
                    .collect();
                let allowed: Vec<_> = allowed.split(", ").filter(|method| *method != "HEAD").collect();
                assert_eq!(allowed, told, "{path}");
                continue;
            }
            assert_eq!(asked.status, 200, "{method} {path}: {}", asked.text());
            let response = resolved(&document, &operation["responses"]["200"]);
            let types: Vec<&String> =
                response["content"].as_object().map(|types| types.keys().collect()).unwrap_or_default();
            let content_type = asked.header("content-type").unwrap();
            assert!(
                types.is_empty() || types.iter().any(|found| content_type.starts_with(&***found)),
                "{method} {path}: {content_type} is none of {types:?}"
            );
            for name in response["headers"].as_object().into_iter().flat_map(|headers| headers.keys()) {
                assert!(asked.header(&name.to_lowercase()).is_some(), "{method} {path} has no {name}");
            }
            let told = operation["responses"].as_object().unwrap().keys();
            statuses.insert(format!("{method} {path}"), told.map(|status| status.parse().unwrap()).collect());
        }
    }
    // Each status that comes is told.
    for (method, path, address, headers, body) in [
        ("GET", "/{namespace}", "/diary?all=x", vec![], vec![]),
        ("GET", "/{namespace}/{key}", "/diary/none", vec![], vec![]),
        ("GET", "/{namespace}/{key}/-/log", "/diary/none/-/log", vec![], vec![]),
        ("POST", "/{namespace}/{key}/{version}", "/diary/foo/9", vec![("X-Rainer-Author", "eva")], vec![]),
        ("POST", "/{namespace}/{key}/{version}", "/diary/foo/9", vec![], vec![]),
        (
            "POST",
            "/{namespace}/{key}/{version}",
            "/diary/foo/9",
            vec![("X-Rainer-Author", "eva")],
            vec![0; 2 << 20],
        ),
        ("GET", "/{namespace}/{key}", "/diary/foo", vec![("Sec-Fetch-Site", "cross-site")], vec![]),
    ] {
        let asked = server.ask(method, address, &headers, &body);
        let told = &statuses[&format!("{method} {path}")];
        assert!(asked.status >= 400 && told.contains(&asked.status), "{method} {address}: {}", asked.status);
    }
}
