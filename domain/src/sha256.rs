//! SHA-256 (FIPS 180-4) of what is hashed by the million: a credit costs seven blocks, and what `Sha256` keeps for messages of any
//! length costs a seventh more.

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

const BLOCK: usize = 64;
/// The initial value (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// The 1 that follows the message, and its length in bits.
const PADDING: usize = 1 + size_of::<u64>();

/// The hash of the parts, one after the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut blocks = [[0_u8; BLOCK]; 2];
    let Some(used) = lay_out(parts, &mut blocks) else {
        return parts.iter().fold(Sha256::new(), Sha256::chain_update).finalize().into();
    };
    let mut state = INITIAL;
    compress256(&mut state, used);
    let mut hash = [0_u8; 32];
    hash.as_chunks_mut()
        .0
        .iter_mut()
        .zip(state)
        .for_each(|(bytes, word): (&mut [u8; 4], _)| *bytes = word.to_be_bytes());
    hash
}

/// The padded message (FIPS 180-4, 5.1.1) in as many blocks as it takes; none where it takes more.
fn lay_out<'b>(parts: &[&[u8]], blocks: &'b mut [[u8; BLOCK]; 2]) -> Option<&'b [[u8; BLOCK]]> {
    let flat = blocks.as_flattened_mut();
    let mut length = 0;
    for part in parts {
        flat.get_mut(length..length + part.len())?.copy_from_slice(part);
        length += part.len();
    }
    let used = (length + PADDING).div_ceil(BLOCK);
    let bits = u64::try_from(length).ok()? * 8;
    *flat.get_mut(length)? = 0x80;
    flat.get_mut(used * BLOCK - size_of::<u64>()..used * BLOCK)?.copy_from_slice(&bits.to_be_bytes());
    blocks.get(..used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_sha_256_at_every_length_however_it_is_cut() {
        let message: Vec<u8> = (0..=255).collect();
        for length in 0..message.len() {
            let (message, _) = message.split_at(length);
            let expected: [u8; 32] = Sha256::digest(message).into();
            for cut in [0, length / 3, length] {
                let (one, other) = message.split_at(cut);
                assert_eq!(sha256(&[one, &[], other]), expected, "{length} bytes, cut at {cut}");
            }
        }
    }
}
