//! The pages of the program's own file.

use std::ffi::{c_int, c_void};
use std::{ptr, slice};

use nix::libc;
use nix::unistd::{SysconfVar, sysconf};

/// Gives back the program's own pages in memory. Most were needed for the start alone. The kernel maps a page
/// again when it is needed, most often from its cache of the file.
pub(super) fn unmap_program() {
    // SAFETY: the callback is what the call wants, and keeps nothing of what it is given.
    unsafe {
        libc::dl_iterate_phdr(Some(unmap_object), ptr::null_mut());
    }
}

/// Ends the iteration after the first object, which is the program. The pages of libraries are also those of
/// other programs.
unsafe extern "C" fn unmap_object(object: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    // SAFETY: the caller has an object with so many headers.
    let (base, headers) = unsafe {
        let object = &*object;
        (object.dlpi_addr as usize, slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()))
    };
    let Ok(Some(page)) = sysconf(SysconfVar::PAGE_SIZE) else { return 1 };
    let page = page as usize;
    // What can be written has been: its pages are not those of the file any more.
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD) {
        let first = (base + header.p_vaddr as usize).next_multiple_of(page);
        let end = (base + header.p_vaddr as usize + header.p_memsz as usize) / page * page;
        if header.p_flags & libc::PF_W == 0 && first < end {
            // SAFETY: whole pages of a file, which nobody has changed. They are the same when they are mapped
            // again.
            unsafe {
                libc::madvise(first as *mut c_void, end - first, libc::MADV_DONTNEED);
            }
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_goes_on_without_its_pages() {
        static TEXT: &str = "read-only data";
        for _ in 0..100 {
            unmap_program();
            assert_eq!(TEXT.len(), 14);
        }
    }
}
