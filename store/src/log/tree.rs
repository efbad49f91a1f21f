//! The stored nodes of the log's tree: its leaves, and the roots of complete subtrees at every eighth level.

use std::collections::HashMap;

use diesel::prelude::*;
use redress_domain::hex_bytes::HexBytes;
use redress_domain::merkle::{Frontier, Hash, Nodes};

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::schema::{log_leaf, log_node};

/// How many levels lie between stored ones.
pub(super) const STEP: u32 = 8;
/// How many nodes of one level have their root stored in the next.
pub(super) const TILE: u64 = 1 << STEP;

/// Reads nodes a tile at a time, each tile once.
pub(super) struct Tree<'a> {
    connection: &'a mut Connection,
    tiles: HashMap<(u32, u64), Vec<Hash>>,
}

impl<'a> Tree<'a> {
    /// The tree as it is now. What is appended later is not seen in tiles that were read before.
    pub(super) fn new(connection: &'a mut Connection) -> Self {
        Self { connection, tiles: HashMap::new() }
    }

    fn load(&mut self, level: u32, tile: u64) -> StoreResult<Vec<Hash>> {
        let number = |place: u64| i64::try_from(place).map_err(StoreError::corrupt);
        let (from, till) = (number(tile * TILE)?, number((tile + 1) * TILE)?);
        let rows: Vec<(i64, Vec<u8>)> = if level == 0 {
            log_leaf::table
                .filter(log_leaf::seq.ge(from).and(log_leaf::seq.lt(till)))
                .order(log_leaf::seq)
                .select((log_leaf::seq, log_leaf::hash))
                .load(self.connection)?
        } else {
            let level = i16::try_from(level).map_err(StoreError::corrupt)?;
            log_node::table
                .filter(log_node::level.eq(level))
                .filter(log_node::place.ge(from).and(log_node::place.lt(till)))
                .order(log_node::place)
                .select((log_node::place, log_node::hash))
                .load(self.connection)?
        };
        let mut hashes = Vec::with_capacity(rows.len());
        for ((place, hash), expected) in rows.iter().zip(from..) {
            match HexBytes::from_slice(hash) {
                Some(hash) if *place == expected => hashes.push(hash),
                _ => return Err(missing(level, expected)),
            }
        }
        Ok(hashes)
    }
}

fn missing(level: u32, place: i64) -> StoreError {
    StoreError::corrupt(format!("node {place} at level {level} of the log is missing; redress verify says more"))
}

impl Nodes for Tree<'_> {
    type Error = StoreError;

    fn node(&mut self, height: u32, place: u64) -> StoreResult<Hash> {
        let within = height % STEP;
        let level = height - within;
        let first = place << within;
        let key = (level, first / TILE);
        if !self.tiles.contains_key(&key) {
            let tile = self.load(level, key.1)?;
            self.tiles.insert(key, tile);
        }
        let index = |place: u64| usize::try_from(place % TILE).map_err(StoreError::corrupt);
        let start = index(first)?;
        let nodes = self.tiles.get(&key).and_then(|tile| tile.get(start..start + (1 << within)));
        let nodes = nodes.ok_or_else(|| missing(level, i64::try_from(first).unwrap_or(i64::MAX)))?;
        let mut frontier = Frontier::default();
        frontier.extend(nodes.iter().copied());
        Ok(frontier.root())
    }
}
