//! `redress audit …`

use std::path::PathBuf;

use clap::Subcommand;

/// `audit …`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Write the newest signed head, to keep where those who run the database cannot change it
    ExportHead {
        /// Where to, a file that must not exist; stdout when not given
        file: Option<PathBuf>,
    },
    /// Check a claimant's proof; needs neither database nor data folder
    CheckProof {
        /// The proof, as GET /v1/audit/proof/{claim} gave it
        file: PathBuf,
        /// The operator's public key, 64 hex digits: a proof signed by any other does not hold
        #[arg(long, value_name = "HEX")]
        key: Option<String>,
        /// What redress audit keys wrote: lets a proof of before the operator's key was changed be held against the new one
        #[arg(long, value_name = "FILE", requires = "key")]
        keys: Option<PathBuf>,
    },
    /// Put a new key in the place of the one that signs the log's heads; heads and proofs of before go on holding
    RotateKey {
        /// Where the new key is (64 hex digits, mode 600); made in the data folder when not given and the key lies there
        #[arg(long, value_name = "FILE")]
        new_key_file: Option<PathBuf>,
        /// Who does it
        #[arg(long = "as", env = "REDRESS_AS", value_name = "NAME")]
        by: String,
    },
    /// Write every change of the log's key, each signed by the key that went and the key that came
    Keys {
        /// Where to; stdout when not given
        file: Option<PathBuf>,
    },
}
