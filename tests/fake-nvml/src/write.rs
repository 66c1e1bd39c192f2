//! Writing through the caller's pointers.

use std::ffi::c_char;

use crate::layout::{INSUFFICIENT_SIZE, INVALID_ARGUMENT, Return};

/// Writes a value.
///
/// # Safety
/// `place` is null or valid for a write of `T`.
pub(crate) unsafe fn value<T>(place: *mut T, value: T) -> Result<(), Return> {
    if place.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: not null, and valid by the caller's word.
    unsafe { place.write(value) };
    Ok(())
}

/// Writes a string with its closing zero.
///
/// # Safety
/// `place` is null or valid for writes of `length` bytes.
pub(crate) unsafe fn text(place: *mut c_char, length: u32, text: &str) -> Result<(), Return> {
    if place.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    if usize::try_from(length).is_ok_and(|length| length <= text.len()) {
        return Err(INSUFFICIENT_SIZE);
    }
    // SAFETY: the text and its zero fit in `length` bytes, which are valid by the caller's word.
    unsafe {
        place.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), text.len());
        place.add(text.len()).write(0);
    }
    Ok(())
}

/// Writes a list as NVML does: with a null list or too little room only the count comes back.
///
/// # Safety
/// `count` is null or valid for reads and writes; `list` is null or valid for writes of `*count` values.
pub(crate) unsafe fn list<T: Copy>(list: *mut T, count: *mut u32, values: &[T]) -> Result<(), Return> {
    if count.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    let found = u32::try_from(values.len()).map_err(|_| INVALID_ARGUMENT)?;
    // SAFETY: `count` is not null and valid by the caller's word.
    let room = unsafe { count.replace(found) };
    if list.is_null() || room < found {
        return if found == 0 { Ok(()) } else { Err(INSUFFICIENT_SIZE) };
    }
    // SAFETY: there is room for `found` values by the caller's word.
    unsafe { list.copy_from_nonoverlapping(values.as_ptr(), values.len()) };
    Ok(())
}

/// A fixed field of bytes, cut to leave room for the closing zero.
pub(crate) fn bytes<const LENGTH: usize>(text: &str) -> [u8; LENGTH] {
    let mut field = [0; LENGTH];
    let room = LENGTH.saturating_sub(1);
    for (place, byte) in field.iter_mut().take(room).zip(text.bytes()) {
        *place = byte;
    }
    field
}
