use std::path::{Path, PathBuf};
use std::process::ExitCode;
pub fn check(_: &[PathBuf], _: crate::cli::Format) -> ExitCode {
    ExitCode::FAILURE
}
pub fn test(_: &[PathBuf], _: crate::cli::Format) -> ExitCode {
    ExitCode::FAILURE
}
pub fn assess(_: &Path, _: &Path, _: crate::cli::Format) -> ExitCode {
    ExitCode::FAILURE
}
