use std::fs::Permissions;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

fn read(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// A descriptor of the file of a long blob.
fn descriptor(blob: &Blob) -> OwnedFd {
    let Exposed::Sealed(file) = blob.expose() else { panic!("{blob:?} has no file") };
    file.try_clone().unwrap().into()
}

#[test]
fn each_file_of_a_blob_has_all_its_bytes_and_an_offset_of_its_own() {
    for len in [0, 1, Blob::MAX_INLINE, Blob::MAX_INLINE + 1, 3 * WINDOW as usize + 7] {
        let (bytes, blob) = (bytes(len), seal(bytes(len).into()));
        assert_eq!(blob.len(), len as u64);
        assert_eq!(matches!(blob.expose(), Exposed::Sealed(_)), len > Blob::MAX_INLINE, "{len} bytes");
        let mut first = open_blob(&blob).unwrap();
        let second = open_blob(&blob).unwrap();
        first.read_exact(&mut vec![0; len / 2]).unwrap();
        assert_eq!(read(second), bytes);
        assert_eq!(read(first), bytes[len / 2..]);
        assert_eq!(read(open_blob(&blob).unwrap()), bytes, "once more");
    }
}

#[test]
fn nobody_can_change_a_long_blob_through_the_file_of_an_action() {
    let blob = seal(bytes(Blob::MAX_INLINE + 1).into());
    let given = open_blob(&blob).unwrap();
    let anew = File::options().write(true).open(format!("/proc/self/fd/{}", given.as_raw_fd()));
    // Root may open it to write, as every user may open a file in memory.
    let mut anew = anew.unwrap();
    assert!(anew.write_all(b"other").is_err() && anew.set_len(0).is_err() && anew.set_len(1 << 20).is_err());
    assert!((&given).write_all(b"other").is_err());
    assert_eq!(read(given), bytes(Blob::MAX_INLINE + 1));
}

#[test]
fn a_writer_makes_the_same_blob_in_pieces_of_every_size() {
    for (pieces, len) in [(0, 0), (3, 5), (40, 1000), (7, Blob::MAX_INLINE), (2, 3 * Blob::MAX_INLINE)] {
        let mut writer = BlobWriter::default();
        let mut all = Vec::new();
        for _ in 0..pieces {
            writer.write_all(&bytes(len)).unwrap();
            all.extend(bytes(len));
        }
        let blob = writer.finish().unwrap();
        assert_eq!(blob.len(), all.len() as u64);
        assert_eq!(read(open_blob(&blob).unwrap()), all);
    }
}

#[test]
fn pieces_are_strung_together_in_any_order_and_none_reaches_beyond_the_blob() {
    let own = |text: &str| Piece::Own(text.into());
    for len in [20, 2 * WINDOW as usize] {
        let (bytes, blob) = (bytes(len), seal(bytes(len).into()));
        let end = len as u64;
        let pieces =
            [own("<"), Piece::Of(end - 3..end), own("-"), Piece::Of(0..end), Piece::Of(4..4), own(">")];
        let expected = [b"<", &bytes[len - 3..], b"-", &bytes, b">"].concat();
        assert_eq!(read(compose(&blob, pieces).unwrap()), expected);
        for range in [0..end + 1, end + 1..end + 1, u64::MAX - 1..u64::MAX] {
            assert!(compose(&blob, [Piece::Of(range)]).is_err());
        }
    }
}

#[test]
fn only_a_sealed_file_is_taken_from_another_process() {
    let blob = seal(bytes(Blob::MAX_INLINE + 1).into());
    let received = receive_blob(descriptor(&blob)).unwrap();
    assert_eq!(received.len(), blob.len());
    assert_eq!(read(open_blob(&received).unwrap()), bytes(Blob::MAX_INLINE + 1));

    let with = |seals| {
        let file = memfd_create(libc::MFD_ALLOW_SEALING).unwrap();
        file.set_len(100).unwrap();
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
        receive_blob(file.into())
    };
    for missing in SEALS.iter() {
        assert!(with(SEALS.difference(missing)).is_err(), "without {missing:?}");
    }
    assert!(with(SEALS).is_ok());
    for file in [tempfile::tempfile().unwrap(), File::open("/dev/null").unwrap(), File::open("/").unwrap()] {
        assert!(receive_blob(file.into()).is_err());
    }
    // It takes no memory, and would if it was copied.
    let sparse = memfd_create(libc::MFD_ALLOW_SEALING).unwrap();
    sparse.set_len(MAX_BLOB + 1).unwrap();
    fcntl(&sparse, FcntlArg::F_ADD_SEALS(SEALS)).unwrap();
    assert!(receive_blob(sparse.into()).is_err());
}

// Without root it is copied.
#[test]
fn a_file_that_its_owner_made_inaccessible_is_given_nevertheless() {
    let blob = seal(bytes(Blob::MAX_INLINE + 1).into());
    File::from(descriptor(&blob)).set_permissions(Permissions::from_mode(0o000)).unwrap();
    assert_eq!(read(open_blob(&blob).unwrap()), bytes(Blob::MAX_INLINE + 1));
}
