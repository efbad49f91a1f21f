//! The policy engine: policies are data, and this is what reads, checks, applies and explains them.
//!
//! A [`Policy`] is compiled once from its file and shared between threads; applying it is a pure function of the
//! policy and the facts. `docs/POLICIES.md` is the reference of the language.
//!
//! ```
//! use redress_domain::policy::{Facts, Language, Outcome, Policy};
//!
//! let source = r#"
//! policy    = "merchant-loss"
//! basis     = "claim"
//! reference = "programme notice of 2022-12-29"
//! title     = { ko = "소상공인 손실 보상", en = "Small merchants' losses" }
//!
//! [facts]
//! "claim.loss" = { type = "money", asset = "KRW" }
//!
//! [[rule]]
//! when    = "claim.loss == 0"
//! decline = "no-loss-shown"
//!
//! [[rule]]
//! when  = "claim.loss <= 300_000"
//! award = [{ asset = "KRW", amount = 30_000 }]
//!
//! [[rule]]
//! otherwise = true
//! review    = "council"
//! "#;
//! let policy = Policy::compile(source, "merchant-loss.toml").map_err(|found| format!("{}", found[0]))?;
//! let facts = Facts::from_json(r#"{ "claim.loss": "300000" }"#)?;
//!
//! // The fast way: no trace, nothing allocated for any rule.
//! let Outcome::Award { awards, rule } = policy.assess_facts(&facts)? else { return Err("no award".into()) };
//! assert_eq!(rule.as_str(), "rule-2");
//! assert_eq!(awards.iter().next().map(|award| award.amount.minor()), Some(30_000));
//!
//! // With the trace, to keep and to show.
//! let assessment = policy.explain_facts(&facts);
//! assert!(assessment.sentence(Language::English).starts_with("Under \"Small merchants' losses\" you receive 30,000 won."));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! From records instead of a facts file, facts are read in place: [`Subject`] with an [`IncidentView`] (made once an
//! incident and service), a [`crate::Holding`], the attributes of the customer's account and a [`ClaimView`];
//! [`Policy::assess`] and [`Policy::explain`].
mod analysis;
mod assessment;
mod ast;
mod calls;
mod calls_time;
mod cases;
mod check;
mod coverage;
mod described;
mod diagnostic;
mod document;
mod eval;
mod eval_named;
mod facts;
mod flow;
mod functions;
mod ir;
mod lexer;
pub mod limits;
mod lint;
mod load;
mod load_facts;
mod load_named;
mod load_rules;
mod load_terms;
mod named;
mod number;
mod operators;
mod outcome;
mod parser;
mod plan;
#[allow(clippy::module_inception, reason = "the type is called Policy and stands in the file of its name")]
mod policy;
mod program;
mod reasons;
mod regions;
mod rules;
mod run_cases;
mod sample;
mod sentence;
mod settle;
mod signatures;
mod simulate;
mod subject;
mod time;
mod trace;
mod types;
mod value;

pub use assessment::{
    AssessedAward, AssessedDocument, AssessedReason, Assessment, CapApplied, Clause, OutcomeKind, Problem, Rounding,
    RuleStep, ValueUsed,
};
pub use cases::CaseFile;
pub use coverage::{Coverage, MissingCoverage};
pub use described::DeclaredFact;
pub use diagnostic::{Diagnostic, Severity};
pub use facts::{FactValue, Facts, FactsError};
pub use lint::LINTS;
pub use number::{Number, NumberError, RoundingMode, parse_decimal};
pub use outcome::{AssessError, Award, Awards, Evidence, Outcome, RuleName};
pub use policy::Policy;
pub use reasons::builtin as builtin_reasons;
pub use rules::{AssetTerms, Basis, Cap, CapPeriod, CapScope, Document, Reason, Rule, Stacking, StackingRule, Worth};
pub use run_cases::{CaseReport, CaseResult};
pub use sample::{Drawn, Sample};
pub use sentence::{Language, decision_in_words};
pub use settle::{Change, Due, Entry, Given, Input, Programme, Settled, Used, settle};
pub use simulate::{
    AssetReport, AssetShift, Bar, Comparison, ComparisonReport, ErrorCount, NothingCount, RuleCount, RuleMove,
    SideReport, Simulation, SimulationReport,
};
pub use subject::{ClaimView, IncidentView, Subject};
pub use trace::{MAX_TRACE_STEPS, Trace};
