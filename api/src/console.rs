//! What is said on stdout and stderr. The standard `println!` and `eprintln!` panic where nobody reads or the disk is
//! full; whoever pays credits must not end in their midst for that, so these stand in their place throughout the crate.

use std::fmt::Arguments;
use std::io::{Error, ErrorKind, Write};
use std::sync::{Mutex, PoisonError};

/// Why stdout took no more, if it did not.
static FAILED: Mutex<Option<Error>> = Mutex::new(None);

/// As the standard one, without its panic: [`crate::console::finish`] tells at the end what could not be printed.
macro_rules! println {
    () => { $crate::console::print(format_args!("")) };
    ($($text:tt)*) => { $crate::console::print(format_args!($($text)*)) };
}

/// As the standard one, without its panic: there is nobody left to tell.
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::console::tell(format_args!($($text)*)) };
}

/// Prints a line on stdout.
pub fn print(line: Arguments<'_>) {
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        FAILED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// Says a line on stderr.
pub fn tell(line: Arguments<'_>) {
    // Where even this cannot be said, nobody listens.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether all that was printed has arrived; a reader who went away, as behind `head`, wanted no more.
pub fn finish() -> std::io::Result<()> {
    let flushed = std::io::stdout().flush();
    let failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner).take();
    match failed.map_or(flushed, Err) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
