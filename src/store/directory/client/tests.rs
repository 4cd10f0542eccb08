//! Tests of what the commands ask of a directory.

use super::*;
use crate::model::NodeFacet;
use crate::store::directory::DirectoryUrl;

fn node(path: &str) -> NodePath {
    NodePath::parse(path).unwrap()
}

fn with_client<F: Future<Output = ()>>(body: impl FnOnce(DirectoryClient, PathBuf) -> F) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("nodes");
    let url = DirectoryUrl { root: root.clone() };
    let client = DirectoryClient::new(&DirectorySettings {
        url,
        session_timeout: Duration::from_secs(10),
        rescan_interval: Duration::from_secs(60),
        readonly: false,
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(body(client, root));
}

async fn set(client: &DirectoryClient, node: &NodePath, data: &[u8]) -> Result<(), ClientError> {
    client.set(node, data, &WriteOptions::default()).await
}

#[test]
fn what_is_set_is_read_back_listed_and_removed() {
    with_client(|client, _| async move {
        set(&client, &node("/git/head"), b"1").await.unwrap();
        set(&client, &node("/git/head"), b"2").await.unwrap();
        set(&client, &node("/git/base"), b"\0\xff").await.unwrap();
        assert_eq!(client.get(&node("/git/head")).await.unwrap(), b"2");
        assert_eq!(client.get(&node("/git/base")).await.unwrap(), b"\0\xff");
        assert_eq!(client.get(&node("/git")).await.unwrap(), b"");
        assert_eq!(client.ls(&node("/git")).await.unwrap(), ["base", "head"]);
        assert_eq!(client.ls(&node("/")).await.unwrap(), ["git"]);
        assert!(matches!(
            client.rm(&node("/git"), false, Condition::None, &Removal::default()).await,
            Err(ClientError::NotEmpty { .. })
        ));
        client.rm(&node("/git/base"), false, Condition::None, &Removal::default()).await.unwrap();
        client.rm(&node("/git"), true, Condition::None, &Removal::default()).await.unwrap();
        assert!(client.ls(&node("/")).await.unwrap().is_empty());
        assert!(matches!(
            client.rm(&node("/"), true, Condition::None, &Removal::default()).await,
            Err(ClientError::Root { .. })
        ));
    });
}

#[test]
fn no_command_goes_through_a_link_out_of_the_store() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    let path = outside.path().to_owned();
    with_client(|client, root| async move {
        fs::create_dir_all(&root).unwrap();
        std::os::unix::fs::symlink(&path, root.join("d")).unwrap();
        std::os::unix::fs::symlink(path.join("created"), root.join(LOCK)).unwrap();
        assert!(client.get(&node("/d/secret")).await.is_err());
        assert!(client.ls(&node("/d")).await.is_err());
        assert!(set(&client, &node("/head"), b"1").await.is_err());
        assert!(!path.join("created").exists());
        fs::remove_file(root.join(LOCK)).unwrap();
        for deep in ["/d/new", "/d/new/deeper"] {
            let refused = set(&client, &node(deep), b"1").await.unwrap_err().to_string();
            assert!(refused.contains("leads out of the store"), "{refused}");
        }
        assert!(client.rm(&node("/d/secret"), false, Condition::None, &Removal::default()).await.is_err());
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
        // The link itself belongs to the store.
        client.rm(&node("/d"), false, Condition::None, &Removal::default()).await.unwrap();
    });
}

#[test]
fn a_poke_makes_a_new_state_of_the_same_content() {
    with_client(|client, root| async move {
        let head = node("/head");
        assert!(matches!(client.poke(&head).await, Err(ClientError::NoRoot { .. })));
        fs::create_dir(&root).unwrap();
        assert!(matches!(client.poke(&head).await, Err(ClientError::Missing { .. })));
        set(&client, &head, b"1").await.unwrap();
        fs::set_permissions(root.join("head"), Permissions::from_mode(0o640)).unwrap();
        let before = file::read(&root, &root.join("head"), NodeFacet::Data).unwrap().unwrap().version(0);
        client.poke(&head).await.unwrap();
        let after = file::read(&root, &root.join("head"), NodeFacet::Data).unwrap().unwrap().version(0);
        assert_ne!(before.revision, after.revision);
        assert_eq!(client.get(&head).await.unwrap(), b"1");
        assert_eq!(fs::metadata(root.join("head")).unwrap().permissions().mode() & 0o777, 0o640);
    });
}

#[test]
fn a_directory_holds_no_data() {
    with_client(|client, _| async move {
        set(&client, &node("/a/b"), b"").await.unwrap();
        set(&client, &node("/a/b/c"), b"1").await.unwrap();
        set(&client, &node("/a"), b"").await.unwrap();
        let error = set(&client, &node("/a"), b"x").await.unwrap_err().to_string();
        assert!(error.contains("node /a in dir:") && error.contains("with children"), "{error}");
        let error = set(&client, &node("/a/b/c/d"), b"x").await.unwrap_err().to_string();
        assert!(error.contains("its parent \"c\" holds data"), "{error}");
        client.rm(&node("/a/b/c"), false, Condition::None, &Removal::default()).await.unwrap();
        set(&client, &node("/a/b"), b"2").await.unwrap();
        assert_eq!(client.get(&node("/a/b")).await.unwrap(), b"2");
    });
}

#[test]
fn an_error_names_the_node_the_store_and_the_remedy() {
    with_client(|client, _| async move {
        let error = client.get(&node("/head")).await.unwrap_err().to_string();
        assert!(
            error.contains("/head") && error.contains("dir:") && error.contains("twitcher set"),
            "{error}"
        );
        let error = set(&client, &node("/.git/x"), b"").await.unwrap_err().to_string();
        assert!(error.contains("starts with a dot"), "{error}");
    });
}
