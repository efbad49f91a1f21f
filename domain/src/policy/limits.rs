//! Every limit of the policy engine, so that no file and no fact, however hostile, costs more than a known amount.

/// The most bytes a policy's or a case file's source may have.
pub const MAX_SOURCE_BYTES: usize = 256 << 10;
/// The most parts that all expressions of a policy may have together.
pub const MAX_NODES: usize = 100_000;
/// The most bytes one expression may have.
pub const MAX_EXPRESSION_BYTES: usize = 8_192;
/// The deepest nesting of one expression.
pub const MAX_EXPRESSION_DEPTH: u16 = 96;
/// The deepest nesting of an expression together with all derived facts, tables and clocks it reads.
pub const MAX_TOTAL_DEPTH: u16 = 256;
/// The most facts a policy may declare or read.
pub const MAX_FACTS: usize = 128;
/// The most derived facts, tables and clocks together.
pub const MAX_NAMED: usize = 128;
/// The most parameters.
pub const MAX_PARAMETERS: usize = 128;
/// The most values of one parameter.
pub const MAX_PARAMETER_VALUES: usize = 512;
/// The most rows of one decision table.
pub const MAX_TABLE_ROWS: usize = 512;
/// The most rules.
pub const MAX_RULES: usize = 256;
/// The most assets one policy may award.
pub const MAX_ASSETS: usize = 64;
/// The most awards one rule may make.
pub const MAX_AWARDS: usize = 8;
/// The most caps.
pub const MAX_CAPS: usize = 32;
/// The most reasons, documents, calendars or waivers, of each kind.
pub const MAX_ENTRIES: usize = 256;
/// The most holidays of one calendar.
pub const MAX_HOLIDAYS: usize = 4_096;
/// The most values of an enumeration.
pub const MAX_ENUM_VALUES: usize = 256;
/// The most elements of a list, given or computed.
pub const MAX_LIST: usize = 4_096;
/// The most bound variables (`x` of `sum(list, x, …)`) nested in each other.
pub const MAX_LOCALS: usize = 4;
/// The most steps over lists that one assessment may take.
pub const MAX_STEPS: u32 = 200_000;
/// The most bytes of one facts file.
pub const MAX_FACTS_BYTES: usize = 1 << 20;
/// The most values of one facts file.
pub const MAX_FACT_VALUES: usize = 16_384;
/// The most messages shown for one file; the rest is counted.
pub const MAX_DIAGNOSTICS: usize = 100;
/// The most boxes the analysis of gaps, overlaps and unreachable rules looks at before it gives up.
pub const MAX_REGION_BOXES: usize = 4_096;
/// The most cases and settlements of one case file.
pub const MAX_CASES: usize = 5_000;
/// The shortest expiry that passes the fairness lint unless the policy states another, in days.
pub const DEFAULT_MINIMUM_EXPIRY_DAYS: i64 = 30;
/// The most examples a simulation keeps for each rule.
pub const MAX_EXAMPLES: usize = 10;
