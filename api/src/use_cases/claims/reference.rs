//! The references that a claimant quotes on the telephone.

/// Crockford's alphabet: no letter that is mistaken for a digit, on the telephone or on paper.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A reference of 60 random bits: among ten million, two are equal about once in twenty thousand histories, and a
/// pair would still be told apart by customer.
pub(super) fn new_reference() -> String {
    let bits: u64 = rand::random();
    let mut reference = String::from("R");
    for place in 0..12 {
        if place % 4 == 0 {
            reference.push('-');
        }
        let digit = usize::try_from((bits >> (5 * place)) & 31).unwrap_or(0);
        reference.push(char::from(ALPHABET[digit]));
    }
    reference
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_can_be_read_out() {
        let reference = new_reference();
        assert_eq!(reference.len(), 16);
        assert!(
            reference.starts_with("R-") && reference.bytes().all(|b| b == b'-' || ALPHABET.contains(&b) || b == b'R')
        );
        assert_ne!(reference, new_reference());
    }
}
