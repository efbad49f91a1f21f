//! Passwords of staff: Argon2id as OWASP has it, under a pepper that stands in no database, a few at a time.

use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};

use crate::error::{AppError, AppResult};
use crate::secrets::Secrets;

/// The fewest characters of a password.
pub const MIN_LENGTH: usize = 12;
/// The most characters of a password.
pub const MAX_LENGTH: usize = 128;
/// The fewest different characters of a password.
const MIN_DISTINCT: usize = 5;
/// How many are hashed at once: each takes 19 MiB.
const MOST_AT_ONCE: usize = 8;
const SALT_LENGTH: usize = 16;

/// Refuses what anybody would guess; says nothing of how many signs or digits there are.
pub fn check(name: &str, password: &str) -> Result<(), String> {
    let length = password.chars().count();
    if !(MIN_LENGTH..=MAX_LENGTH).contains(&length) {
        return Err(format!("must have {MIN_LENGTH} to {MAX_LENGTH} characters"));
    }
    let lower = password.to_lowercase();
    let mut distinct: Vec<char> = lower.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < MIN_DISTINCT {
        return Err(format!("must have {MIN_DISTINCT} different characters"));
    }
    let name = name.to_lowercase();
    if lower.contains("password") || lower.contains("redress") || (name.len() >= 3 && lower.contains(&name)) {
        return Err("must not contain the member's name, the program's or the word itself".into());
    }
    Ok(())
}

/// What is kept of a password.
pub fn hash(secrets: &Secrets, password: &str) -> AppResult<String> {
    let _turn = Turn::take()?;
    let salt: [u8; SALT_LENGTH] = rand::random();
    let hashed: PasswordHash =
        hasher(secrets)?.hash_password_with_salt(password.as_bytes(), &salt).map_err(unusable)?;
    Ok(hashed.to_string())
}

/// Whether a password is the one of a hash. Without a hash it takes as long and says no, so that nobody learns who has one.
pub fn verify(secrets: &Secrets, password: &str, kept: Option<&str>) -> AppResult<bool> {
    let Some(kept) = kept else { return hash(secrets, password).map(|_| false) };
    let _turn = Turn::take()?;
    let kept = PasswordHash::new(kept).map_err(unusable)?;
    Ok(hasher(secrets)?.verify_password(password.as_bytes(), &kept).is_ok())
}

fn hasher(secrets: &Secrets) -> AppResult<Argon2<'_>> {
    // 19 MiB, two passes, one lane: the first choice of OWASP's cheat sheet.
    Argon2::new_with_secret(secrets.pepper(), Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
        .map_err(|error| AppError::from(redress_store::StoreError::corrupt(error)))
}

fn unusable(error: impl std::fmt::Display) -> AppError {
    redress_store::StoreError::corrupt(format!("a password's hash cannot be used: {error}")).into()
}

/// A turn at hashing: whoever comes when all are taken is told to come back, instead of filling the memory.
struct Turn;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

impl Turn {
    fn take() -> AppResult<Self> {
        let turn = Self;
        if TAKEN.fetch_add(1, Ordering::Relaxed) < MOST_AT_ONCE { Ok(turn) } else { Err(AppError::Later(1)) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_anybody_would_guess_is_refused() {
        for bad in
            ["", "short", "aaaaaaaaaaaaaaaa", "abababababab", "my password 123", "ann-ann-ann-1234", "Redress2022!!"]
        {
            assert!(check("ann", bad).is_err(), "{bad}");
        }
        assert!(check("ann", &"ab3de".repeat(26)).is_err());
        assert_eq!(check("ann", "네 마리 고양이가 춤춘다!"), Ok(()));
    }
}
