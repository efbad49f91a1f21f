//! Merkle trees as RFC 6962 and RFC 9162 have them: who knows a root knows every leaf, and a short path shows that a
//! leaf is in it, or that a larger tree continues a smaller one.

use sha2::{Digest, Sha256};

use crate::hex_bytes::HexBytes;

/// A SHA-256 hash.
pub type Hash = HexBytes<32>;

/// What a leaf's bytes are preceded by, so that no leaf can be taken for a node.
pub const LEAF_PREFIX: u8 = 0;
/// What a node's two hashes are preceded by.
const NODE_PREFIX: u8 = 1;

/// The hash of a leaf.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    HexBytes(Sha256::new().chain_update([LEAF_PREFIX]).chain_update(data).finalize().into())
}

/// The hash of a node over its two subtrees.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [NODE_PREFIX; 65];
    bytes[1..33].copy_from_slice(left.as_bytes());
    bytes[33..].copy_from_slice(right.as_bytes());
    HexBytes(Sha256::digest(bytes).into())
}

/// The root of the tree without leaves.
#[must_use]
pub fn empty_root() -> Hash {
    HexBytes(Sha256::digest([]).into())
}

/// The right edge of a growing tree: as much as is needed to take the next leaf and to say the root, which is one hash
/// for each bit of the size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// The roots of the complete subtrees, the largest and leftmost first.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Takes the next leaf, by its hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        // Each trailing 1 of the size is a complete subtree as large as the one that just came to be.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// How many leaves were taken.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over all leaves so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return empty_root() };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}

impl Extend<Hash> for Frontier {
    fn extend<T: IntoIterator<Item = Hash>>(&mut self, leaves: T) {
        leaves.into_iter().for_each(|leaf| self.push(leaf));
    }
}

/// Where the hashes of complete subtrees come from: a slice of leaves, or tables of a database.
pub trait Nodes {
    /// Why a node cannot be had.
    type Error;

    /// The root of the complete subtree of `2^height` leaves that begins at leaf `place * 2^height`.
    fn node(&mut self, height: u32, place: u64) -> Result<Hash, Self::Error>;
}

/// The root of the first `size` leaves.
pub fn root<N: Nodes>(nodes: &mut N, size: u64) -> Result<Hash, N::Error> {
    if size == 0 { Ok(empty_root()) } else { range_root(nodes, 0, size) }
}

/// The root of the leaves `[start, end)`; `start` is a multiple of the largest power of two below the length.
fn range_root<N: Nodes>(nodes: &mut N, start: u64, end: u64) -> Result<Hash, N::Error> {
    let length = end - start;
    if length.is_power_of_two() {
        let height = length.trailing_zeros();
        return nodes.node(height, start >> height);
    }
    let middle = start + split(length);
    let left = range_root(nodes, start, middle)?;
    Ok(node_hash(&left, &range_root(nodes, middle, end)?))
}

/// The largest power of two below `length`, which is more than 1.
fn split(length: u64) -> u64 {
    1 << (63 - (length - 1).leading_zeros())
}

/// The path from a leaf to the root of the first `size` leaves, the leaf's end first. None when there is no such leaf.
pub fn inclusion_proof<N: Nodes>(nodes: &mut N, leaf: u64, size: u64) -> Result<Option<Vec<Hash>>, N::Error> {
    if leaf >= size {
        return Ok(None);
    }
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if leaf < middle {
            path.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(range_root(nodes, start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(Some(path))
}

/// What shows that the tree of `new` leaves begins with the tree of `old` leaves. None when it does not have so many.
pub fn consistency_proof<N: Nodes>(nodes: &mut N, old: u64, new: u64) -> Result<Option<Vec<Hash>>, N::Error> {
    if old > new {
        return Ok(None);
    }
    if old == 0 || old == new {
        return Ok(Some(Vec::new()));
    }
    let (mut start, mut end) = (0, new);
    let mut path = Vec::new();
    // Whether the old tree is a whole subtree from the left edge, whose root the verifier has.
    let mut known = true;
    while old < end {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(range_root(nodes, start, middle)?);
            start = middle;
            known = false;
        }
    }
    if !known {
        path.push(range_root(nodes, start, end)?);
    }
    path.reverse();
    Ok(Some(path))
}

/// The root that a path leads to from a leaf; none when the path does not fit a tree of this size.
#[must_use]
pub fn root_of_path(leaf: Hash, place: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if place >= size {
        return None;
    }
    // RFC 9162, 2.1.3.2.
    let (mut place, mut last) = (place, size - 1);
    let mut node = leaf;
    for other in path {
        if last == 0 {
            return None;
        }
        if place & 1 == 1 || place == last {
            node = node_hash(other, &node);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            node = node_hash(&node, other);
        }
        place >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(node)
}

/// Whether a tree continues another, both given by size and root.
#[must_use]
pub fn is_consistent(old: (u64, Hash), new: (u64, Hash), path: &[Hash]) -> bool {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size > new_size || (old_size == 0 && old_root != empty_root()) {
        return false;
    }
    if old_size == new_size || old_size == 0 {
        return path.is_empty() && (old_size == 0 || old_root == new_root);
    }
    // RFC 9162, 2.1.4.2.
    let (mut place, mut last) = (old_size - 1, new_size - 1);
    while place & 1 == 1 {
        place >>= 1;
        last >>= 1;
    }
    let mut path = path.iter();
    let Some(seed) = (if old_size.is_power_of_two() { Some(&old_root) } else { path.next() }) else { return false };
    let (mut old_node, mut new_node) = (*seed, *seed);
    for other in path {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            old_node = node_hash(other, &old_node);
            new_node = node_hash(other, &new_node);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            new_node = node_hash(&new_node, other);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && old_node == old_root && new_node == new_root
}

/// The nodes of a tree whose leaves are at hand.
#[derive(Debug)]
pub struct Leaves<'a>(pub &'a [Hash]);

/// A node lies beyond the leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tree has fewer leaves")]
pub struct BeyondTheTree;

impl Nodes for Leaves<'_> {
    type Error = BeyondTheTree;

    fn node(&mut self, height: u32, place: u64) -> Result<Hash, BeyondTheTree> {
        let range = || {
            let length = 1_usize.checked_shl(height)?;
            let start = usize::try_from(place).ok()?.checked_mul(length)?;
            self.0.get(start..start.checked_add(length)?)
        };
        let mut frontier = Frontier::default();
        frontier.extend(range().ok_or(BeyondTheTree)?.iter().copied());
        Ok(frontier.root())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6962, 2.1, word for word.
    fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let mut k = 1;
                while k * 2 < leaves.len() {
                    k *= 2;
                }
                node_hash(&naive_root(&leaves[..k]), &naive_root(&leaves[k..]))
            }
        }
    }

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    #[test]
    fn known_roots_of_certificate_transparency() {
        // The test vectors of the reference implementation.
        let inputs =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut frontier = Frontier::default();
        assert_eq!(frontier.root().to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (input, root) in inputs.iter().zip(roots) {
            frontier.push(leaf_hash(&hex::decode(input).unwrap()));
            assert_eq!(frontier.root().to_string(), root);
        }
    }

    #[test]
    fn every_proof_of_every_small_tree_holds_and_no_other() {
        let all = leaves(70);
        let mut frontier = Frontier::default();
        for size in 0..=all.len() {
            let tree = &all[..size];
            assert_eq!(frontier.root(), naive_root(tree));
            assert_eq!(root(&mut Leaves(tree), size as u64).unwrap(), naive_root(tree));
            for leaf in 0..size {
                let path = inclusion_proof(&mut Leaves(tree), leaf as u64, size as u64).unwrap().unwrap();
                for place in 0..size + 2 {
                    let leads = root_of_path(tree[leaf], place as u64, size as u64, &path) == Some(frontier.root());
                    assert_eq!(leads, place == leaf, "leaf {leaf} as {place} of {size}");
                }
            }
            for old in 0..=size {
                let path = consistency_proof(&mut Leaves(tree), old as u64, size as u64).unwrap().unwrap();
                let (before, now) = (naive_root(&tree[..old]), frontier.root());
                assert!(is_consistent((old as u64, before), (size as u64, now), &path), "{old} of {size}");
                if old > 0 {
                    assert!(!is_consistent((old as u64, leaf_hash(b"x")), (size as u64, now), &path));
                    assert!(!is_consistent((old as u64, before), (size as u64, leaf_hash(b"x")), &path));
                }
            }
            assert_eq!(inclusion_proof(&mut Leaves(tree), size as u64, size as u64).unwrap(), None);
            assert_eq!(consistency_proof(&mut Leaves(tree), size as u64 + 1, size as u64).unwrap(), None);
            if size < all.len() {
                frontier.push(all[size]);
            }
        }
    }

    proptest! {
        #[test]
        fn a_frontier_is_the_naive_tree(count in 0_usize..3000) {
            let all = leaves(count);
            let mut frontier = Frontier::default();
            frontier.extend(all.iter().copied());
            prop_assert_eq!(frontier.root(), naive_root(&all));
            prop_assert_eq!(frontier.size(), count as u64);
        }

        #[test]
        fn a_changed_path_or_leaf_leads_elsewhere(count in 1_usize..2000, pick in any::<prop::sample::Index>(), byte in 0_usize..32, bit in 0_u32..8) {
            let all = leaves(count);
            let (leaf, size) = (pick.index(count), count as u64);
            let now = naive_root(&all);
            let path = inclusion_proof(&mut Leaves(&all), leaf as u64, size).unwrap().unwrap();
            prop_assert_eq!(root_of_path(all[leaf], leaf as u64, size, &path), Some(now));
            let mut altered = all[leaf];
            altered.0[byte] ^= 1 << bit;
            prop_assert_ne!(root_of_path(altered, leaf as u64, size, &path), Some(now));
            for place in 0..path.len() {
                let mut altered = path.clone();
                altered[place].0[byte] ^= 1 << bit;
                prop_assert_ne!(root_of_path(all[leaf], leaf as u64, size, &altered), Some(now));
            }
            let longer: Vec<Hash> = path.iter().copied().chain([now]).collect();
            prop_assert_ne!(root_of_path(all[leaf], leaf as u64, size, &longer), Some(now));
            if let Some((_, shorter)) = path.split_last() {
                prop_assert_ne!(root_of_path(all[leaf], leaf as u64, size, shorter), Some(now));
            }
        }

        #[test]
        fn a_rewritten_past_is_not_consistent(count in 2_usize..1500, old in any::<prop::sample::Index>(), changed in any::<prop::sample::Index>()) {
            let all = leaves(count);
            let old = old.index(count - 1) + 1;
            let mut rewritten = all.clone();
            rewritten[changed.index(old)] = leaf_hash(b"rewritten");
            let before = (old as u64, naive_root(&all[..old]));
            let honest = consistency_proof(&mut Leaves(&all), old as u64, count as u64).unwrap().unwrap();
            prop_assert!(is_consistent(before, (count as u64, naive_root(&all)), &honest));
            let forged = consistency_proof(&mut Leaves(&rewritten), old as u64, count as u64).unwrap().unwrap();
            prop_assert!(!is_consistent(before, (count as u64, naive_root(&rewritten)), &forged));
            prop_assert!(!is_consistent(before, (count as u64, naive_root(&rewritten)), &honest));
        }
    }
}
