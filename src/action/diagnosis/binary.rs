//! Reads the first bytes of a program: the interpreter of a script, or the machine and the loader of an ELF
//! file.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc;

/// The kernel reads so much of a script to find its interpreter.
const INTERPRETER_LINE: usize = 256;

/// The header, the program headers and the loader's name are well within the first bytes.
const HEAD_BYTES: u64 = 4096;

/// What the kernel finds at the beginning of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Format {
    Script { interpreter: PathBuf },
    Elf { machine: u16, loader: Option<PathBuf> },
    Empty,
    Other,
}

/// Reads what kind of program a regular file is. Waits for nobody: not for a writer of a pipe, nor for the
/// holder of a lease.
pub fn format(path: &Path) -> io::Result<Format> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(Format::Other);
    }
    let mut head = Vec::new();
    file.take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok(parse(&head))
}

/// The machine that this program was built for.
pub fn own_machine() -> Option<u16> {
    match format(Path::new("/proc/self/exe")) {
        Ok(Format::Elf { machine, .. }) => Some(machine),
        _ => None,
    }
}

pub fn machine_name(machine: u16) -> String {
    let name = match machine {
        3 => "32-bit x86",
        8 => "MIPS",
        20 | 21 => "PowerPC",
        22 => "s390",
        40 => "32-bit ARM",
        62 => "x86-64",
        183 => "64-bit ARM (aarch64)",
        243 => "RISC-V",
        258 => "LoongArch",
        number => return format!("machine {number}"),
    };
    name.to_owned()
}

fn parse(head: &[u8]) -> Format {
    if let Some(line) = head.strip_prefix(b"#!") {
        return script(&line[..line.len().min(INTERPRETER_LINE - 2)]);
    }
    match elf(head) {
        Some(format) => format,
        None if head.is_empty() => Format::Empty,
        None => Format::Other,
    }
}

fn script(line: &[u8]) -> Format {
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let mut words = line.split(is_blank).filter(|word| !word.is_empty());
    match words.next() {
        Some(word) => Format::Script { interpreter: OsStr::from_bytes(word).into() },
        None => Format::Other,
    }
}

/// Parses an ELF file of either size and byte order, as elf(5) describes it.
fn elf(head: &[u8]) -> Option<Format> {
    const LOADER_SEGMENT: u64 = 3;
    let identification = head.strip_prefix(b"\x7fELF")?;
    let (wide, little) = (*identification.first()? == 2, *identification.get(1)? == 1);
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let bytes = head.get(at..at.checked_add(bytes)?)?.iter();
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if little { bytes.rev().fold(0, add) } else { bytes.fold(0, add) })
    };
    let machine = number(18, 2)? as u16;
    let (headers, size, count) = match wide {
        true => (number(32, 8)?, number(54, 2)?, number(56, 2)?),
        false => (number(28, 4)?, number(42, 2)?, number(44, 2)?),
    };
    let loader = (0..count.min(64)).find_map(|index| {
        let header = usize::try_from(headers.checked_add(index * size)?).ok()?;
        if number(header, 4)? != LOADER_SEGMENT {
            return None;
        }
        let (offset, length) = match wide {
            true => (number(header + 8, 8)?, number(header + 32, 8)?),
            false => (number(header + 4, 4)?, number(header + 16, 4)?),
        };
        let (offset, length) = (usize::try_from(offset).ok()?, usize::try_from(length).ok()?);
        let name = head.get(offset..offset.checked_add(length)?)?;
        Some(PathBuf::from(OsStr::from_bytes(name.strip_suffix(b"\0").unwrap_or(name))))
    });
    Some(Format::Elf { machine, loader })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_names_its_interpreter_as_the_kernel_reads_it() {
        for (head, expected) in [
            ("#!/bin/sh\necho", Some("/bin/sh")),
            ("#! \t/bin/sh -e\n", Some("/bin/sh")),
            ("#!/bin/sh\r\necho", Some("/bin/sh\r")),
            ("#!/usr/bin/env python", Some("/usr/bin/env")),
            ("#!\n/bin/sh", None),
        ] {
            let expected = expected.map_or(Format::Other, |path| Format::Script { interpreter: path.into() });
            assert_eq!(parse(head.as_bytes()), expected, "{head:?}");
        }
        assert_eq!((parse(b""), parse(b"echo hi\n")), (Format::Empty, Format::Other));
    }

    #[test]
    fn this_very_program_is_for_this_machine_and_garbage_is_nothing() {
        let Ok(Format::Elf { machine, loader }) = format(Path::new("/proc/self/exe")) else {
            panic!("an ELF file");
        };
        assert_eq!(Some(machine), own_machine());
        assert!(loader.is_none_or(|loader| loader.exists()));
        for length in 0..80 {
            parse(&[&b"\x7fELF\x02\x01"[..], &vec![0xff; length]].concat());
        }
    }
}
