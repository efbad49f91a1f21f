//! Properties of the engine over generated policies, expressions and facts; the crate `cel` as an oracle; and hostile
//! files, which are refused quickly and never with a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use redress_domain::policy::{CaseFile, Facts, Number, Outcome, Policy, RoundingMode, parse_decimal};
use rust_decimal::Decimal;

// ---- cel as an oracle -----------------------------------------------------------------------------

/// An expression of the common subset, as text that both languages read. Numbers are whole: CEL has no decimals.
fn number() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (-40_i64..40).prop_map(|value| if value < 0 { format!("({value})") } else { value.to_string() }),
        Just("claim.a".to_owned()),
        Just("claim.b".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), prop_oneof!["\\+", "-", "\\*"], inner.clone())
                .prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            inner.clone().prop_map(|a| format!("(-{a})")),
            (condition(inner.clone().boxed()), inner.clone(), inner).prop_map(|(c, a, b)| format!("({c} ? {a} : {b})")),
        ]
    })
}

fn condition(number: BoxedStrategy<String>) -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just("claim.p".to_owned()),
        (number.clone(), prop_oneof!["<", "<=", ">", ">=", "==", "!="], number.clone())
            .prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        (number.clone(), prop::collection::vec(-5_i64..5, 1..4)).prop_map(|(a, list)| format!("({a} in {list:?})")),
        prop_oneof!["'x'", "'y'", "'zz'"].prop_map(|text| format!("(claim.t == {text})")),
        prop_oneof!["'x'", "'z'"].prop_map(|text| format!("claim.t.startsWith({text})")),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            (inner.clone(), prop_oneof!["&&", "\\|\\|"], inner.clone())
                .prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            inner.clone().prop_map(|a| format!("(!{a})")),
        ]
    })
}

/// A policy that awards when the condition holds. The analysis may refuse it (a condition that never holds), so the
/// condition is joined to a fact of its own.
fn policy_of(condition: &str) -> Policy {
    let source = format!(
        "policy = \"p\"\nbasis = \"claim\"\n[facts]\n\"claim.a\" = {{ type = \"int\" }}\n\"claim.b\" = {{ type = \"int\" }}\n\
         \"claim.p\" = {{ type = \"bool\" }}\n\"claim.t\" = {{ type = \"text\" }}\n\"claim.free\" = {{ type = \"bool\" }}\n\
         [derived]\nanswer = \"{condition}\"\n\
         [[rule]]\nwhen = \"derived.answer && claim.free\"\naward = [{{ asset = \"KRW\", amount = 1 }}]\n\
         [[rule]]\notherwise = true\ndecline = \"not-eligible\"\n"
    );
    match Policy::compile(&source, "p.toml") {
        Ok(policy) => policy,
        Err(found) => panic!("{condition}\n{}", found[0]),
    }
}

fn cel_says(condition: &str, a: i64, b: i64, p: bool, t: &str) -> Option<bool> {
    use std::collections::HashMap;
    let program = cel::Program::compile(condition).ok()?;
    let mut context = cel::Context::default();
    let claim: HashMap<String, cel::Value> = HashMap::from([
        ("a".to_owned(), a.into()),
        ("b".to_owned(), b.into()),
        ("p".to_owned(), p.into()),
        ("t".to_owned(), t.into()),
    ]);
    context.add_variable_from_value("claim", claim);
    match program.execute(&context) {
        Ok(cel::Value::Bool(answer)) => Some(answer),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cel_says_the_same(
        condition in condition(number().boxed()),
        a in -20_i64..20,
        b in -20_i64..20,
        p: bool,
        t in prop_oneof!["x", "y", "zz", ""],
    ) {
        let policy = policy_of(&condition);
        let facts = format!("{{\"claim\": {{\"a\": {a}, \"b\": {b}, \"p\": {p}, \"t\": {t:?}, \"free\": true}}}}");
        let facts = Facts::from_json(&facts).unwrap();
        let ours = matches!(policy.assess_facts(&facts), Ok(Outcome::Award { .. }));
        // Beyond 64 bits CEL has no answer; ours goes on.
        if let Some(theirs) = cel_says(&condition, a, b, p, &t) {
            prop_assert_eq!(ours, theirs, "{}", condition);
        }
    }

    // ---- exact numbers ----------------------------------------------------------------------------

    #[test]
    fn decimals_are_exact(a in -1_000_000_000_i64..1_000_000_000, i in 0_u32..6, b in -1_000_000_000_i64..1_000_000_000, j in 0_u32..6) {
        let (x, y) = (Number::from(Decimal::new(a, i)), Number::from(Decimal::new(b, j)));
        prop_assert_eq!(x.plus(y).unwrap().subtract(y).unwrap(), x);
        if b != 0 {
            prop_assert_eq!(x.divide(y).unwrap().multiply(y).unwrap(), x);
            prop_assert_eq!(x.multiply(y).unwrap().divide(y).unwrap(), x);
            // The order of fractions is that of the cross products.
            let third = Number::ratio(1, 3).unwrap();
            let quotient = x.divide(y).unwrap();
            let cross = x.multiply(Number::from(Decimal::from(3))).unwrap();
            let expected = if b > 0 { cross.cmp(&y) } else { y.cmp(&cross) };
            prop_assert_eq!(quotient.cmp(&third), expected);
        }
    }

    #[test]
    fn rounding_stays_within_a_unit(n in -1_000_000_i128..1_000_000, d in 1_i128..1_000, unit in 1_i64..500, scale in 0_u32..3) {
        let (value, unit) = (Number::ratio(n, d).unwrap(), Decimal::new(unit, scale));
        for (name, mode) in RoundingMode::ALL {
            let rounded = value.round(mode, unit).unwrap();
            let distance = rounded.subtract(value).unwrap().abs();
            prop_assert!(distance < Number::from(unit), "{} {:?} {}", name, value, unit);
            let steps = rounded.divide(Number::from(unit)).unwrap();
            prop_assert!(steps.as_integer().is_some());
            if name.starts_with("half") {
                prop_assert!(distance.multiply(Number::from(Decimal::TWO)).unwrap() <= Number::from(unit));
            }
            prop_assert_eq!(rounded.round(mode, unit).unwrap(), rounded, "rounding twice changes nothing");
        }
    }

    #[test]
    fn numbers_read_as_they_are_shown(mantissa: i64, scale in 0_u32..12) {
        let value = Decimal::new(mantissa, scale);
        prop_assert_eq!(parse_decimal(&value.to_string()), Some(value));
        prop_assert_eq!(parse_decimal(&Number::from(value).to_string()), Some(value.normalize()));
    }

    // ---- assessments --------------------------------------------------------------------------------

    #[test]
    fn an_assessment_never_exceeds_its_cap(loss in 0_u64..10_000_000, share in 0_u64..100, cap in 1_u64..500_000, least in 0_u64..1_000) {
        let least = least.min(cap);
        let source = format!(
            "policy = \"p\"\nbasis = \"claim\"\n[facts]\n\"claim.loss\" = {{ type = \"money\", asset = \"KRW\" }}\n\
             \"claim.share\" = {{ type = \"int\" }}\n\
             [[cap]]\nper = \"subject\"\nasset = \"KRW\"\nat_most = {cap}\nat_least = {least}\n\
             [[rule]]\nwhen = \"claim.loss > 10\"\naward = [{{ asset = \"KRW\", amount = \"round(claim.loss * claim.share / 100, 'half_up', 1)\" }}]\n\
             [[rule]]\notherwise = true\ndecline = \"no-loss-shown\"\n"
        );
        let policy = Policy::compile(&source, "p.toml").unwrap();
        let facts = Facts::from_json(&format!("{{\"claim.loss\": {loss}, \"claim.share\": {share}}}")).unwrap();
        match policy.assess_facts(&facts).unwrap() {
            Outcome::Award { awards, .. } => {
                let amount = u64::try_from(awards.iter().next().unwrap().amount.minor()).unwrap();
                prop_assert!(amount <= cap && amount >= least.max(1), "{} of {} to {}", amount, least, cap);
            }
            Outcome::Decline { .. } => prop_assert!(loss <= 10 || (loss * share + 50) / 100 == 0),
            other => prop_assert!(false, "{:?}", other.kind()),
        }
    }

    #[test]
    fn the_order_of_facts_makes_no_difference(order in Just(vec![0, 1, 2, 3]).prop_shuffle(), loss in 0_i64..1_000_000) {
        let policy = Policy::compile(include_str!("policies/broken-base.toml"), "p.toml").unwrap();
        let all = [
            "\"claim.day\": \"2025-06-01\", \"claim.minutes\": 61".to_owned(),
            format!("\"claim.loss\": {loss}"),
            "\"claim.kind\": \"shop\"".to_owned(),
            "\"claim.share\": 0.5, \"holding.fee\": 7".to_owned(),
        ];
        let written = |order: &[usize]| {
            let parts: Vec<&str> = order.iter().map(|at| all[*at].as_str()).collect();
            Facts::from_json(&format!("{{{}}}", parts.join(", "))).unwrap()
        };
        let (first, second) = (written(&[0, 1, 2, 3]), written(&order));
        prop_assert_eq!(policy.explain_facts(&first), policy.explain_facts(&second));
    }

    #[test]
    fn an_assessment_is_kept_and_read_again(loss in 0_i64..2_000) {
        let policy = Policy::compile(include_str!("policies/broken-base.toml"), "p.toml").unwrap();
        let facts = format!(
            "{{\"claim.day\": \"2026-06-01\", \"claim.minutes\": 5, \"claim.loss\": {loss}, \"claim.kind\": \"home\", \"claim.share\": 1, \"holding.fee\": 1}}"
        );
        let assessment = policy.explain_facts(&Facts::from_json(&facts).unwrap());
        let kept = serde_json::to_string(&assessment).unwrap();
        prop_assert_eq!(serde_json::from_str::<redress_domain::policy::Assessment>(&kept).unwrap(), assessment);
    }

    // ---- hostile files --------------------------------------------------------------------------------

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,300}") {
        let _ = Policy::compile(&text, "p.toml");
        let _ = CaseFile::parse(&text, "p.cases.toml");
        let _ = Facts::from_json(&text);
    }

    #[test]
    fn no_expression_makes_the_checker_panic(expression in "[a-z.()\\[\\]<>=!&|?:+*/%' 0-9,_-]{0,120}") {
        let base = include_str!("policies/broken-base.toml");
        let quoted = expression.replace('\\', "\\\\").replace('"', "\\\"");
        let source = base.replacen("\"claim.loss <= 1_000\"", &format!("\"{quoted}\""), 1);
        assess_whatever_compiles(&source);
    }

    #[test]
    fn no_mixture_of_words_makes_the_checker_panic(words in prop::collection::vec(word(), 0..25)) {
        let base = include_str!("policies/broken-base.toml");
        let source = base.replacen("\"claim.loss <= 1_000\"", &format!("\"{}\"", words.join(" ")), 1);
        assess_whatever_compiles(&source);
    }

    #[test]
    fn no_mutilated_policy_makes_the_loader_panic(at in 0_usize..1_400, length in 0_usize..60, put in "[\\[\\]{}=\"',.a-z0-9 \n-]{0,12}") {
        let base = include_str!("policies/broken-base.toml");
        let place = |byte: usize| (byte.min(base.len())..=base.len()).find(|byte| base.is_char_boundary(*byte)).unwrap_or(base.len());
        let (from, until) = (place(at), place(at + length));
        let source = format!("{}{put}{}", &base[..from], &base[until..]);
        assess_whatever_compiles(&source);
    }
}

/// A word of the language, so that mixtures come near to expressions.
fn word() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "claim.loss",
        "claim.minutes",
        "claim.kind",
        "claim.day",
        "claim.share",
        "holding.fee",
        "incident.window",
        "incident.windows",
        "parameter.daily",
        "table.tier",
        "derived.half",
        "calendar.kr",
        "true",
        "false",
        "1",
        "0",
        "2.5",
        "'shop'",
        "(",
        ")",
        "[",
        "]",
        ",",
        "+",
        "-",
        "*",
        "/",
        "%",
        "&&",
        "||",
        "!",
        "?",
        ":",
        "<",
        "<=",
        "==",
        "!=",
        ">",
        ">=",
        "in",
        "sum(",
        "count(",
        "any(",
        "x",
        ".from",
        "round(",
        "'up'",
        "date('2026-01-01')",
        "duration('1h')",
        "hours(",
        "has(",
        "coalesce(",
        "min(",
        "max(",
        "local_date(",
        "add_days(",
        "dates(",
        "window(",
        "on(",
        "prorate(",
        "79228162514264337593543950335",
        "overlap(",
        "is_working_day(",
    ];
    prop::sample::select(WORDS).prop_map(str::to_owned)
}

/// Compiles; and if that succeeds, assesses too, with facts at the edges.
fn assess_whatever_compiles(source: &str) {
    let Ok(policy) = Policy::compile(source, "p.toml") else { return };
    for (minutes, loss, share, day) in
        [(0, "0", "0", "2026-01-01"), (i64::MAX, "79228162514264337593543950335", "1", "9999-12-31")]
    {
        let facts = format!(
            "{{\"claim.day\": \"{day}\", \"claim.loss\": {loss}, \"claim.minutes\": {minutes}, \"claim.kind\": \"shop\", \"claim.share\": {share}, \
             \"holding.fee\": 1, \"incident.windows\": [{{\"from\": \"2022-10-15T06:30:00Z\", \"until\": \"2022-10-16T06:30:00Z\"}}]}}"
        );
        let facts = Facts::from_json(&facts).unwrap();
        let fast = policy.assess_facts(&facts).map(|outcome| outcome.kind()).map_err(|error| error.code());
        let traced = policy.trace_facts(&facts).outcome().as_ref().map(Outcome::kind).map_err(|error| error.code());
        assert_eq!(fast, traced);
        assert_ne!(fast, Err("internal"), "{source}");
    }
}

/// A second, in which each of them is refused many times over even without optimisation.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn hostile_files_are_refused_quickly() {
    let rules = |count: usize, when: &dyn Fn(usize) -> String| {
        let mut source = String::from(
            "policy = \"p\"\nbasis = \"claim\"\n[facts]\n\"claim.a\" = { type = \"int\" }\n\"claim.b\" = { type = \"int\" }\n\"claim.c\" = { type = \"int\" }\n",
        );
        for rule in 0..count {
            let _ = write!(source, "[[rule]]\nwhen = \"{}\"\ndecline = \"nothing-due\"\n", when(rule));
        }
        source.push_str("[[rule]]\notherwise = true\nreview = \"people\"\n");
        source
    };
    let chain = |count: usize| {
        let mut source = String::from("policy = \"p\"\nbasis = \"undecided\"\n[derived]\nd0 = \"1\"\n");
        for at in 1..count {
            let _ = writeln!(source, "d{at} = \"derived.d{} + derived.d{}\"", at - 1, at - 1);
        }
        source
    };
    let hostile = [
        "x".repeat(10 << 20),
        "[".repeat(200_000),
        format!("a = {}1{}", "[".repeat(20_000), "]".repeat(20_000)),
        "[[rule]]\n".repeat(20_000),
        format!("policy = \"{}\"", "p".repeat(200_000)),
        chain(10_000),
        chain(120),
        rules(256, &|at| format!("(claim.a == {at} || claim.b == {at}) && (claim.c < {at} || claim.a > {at})")),
        rules(200, &|at| (0..40).map(|n| format!("claim.a != {}", at * 40 + n)).collect::<Vec<_>>().join(" && ")),
        rules(3, &|at| {
            (0..40).map(|n| format!("(claim.a < {n} || claim.b > {})", n + at)).collect::<Vec<_>>().join(" && ")
        }),
        rules(1, &|_| format!("claim.a in [{}]", (0..2_000).map(|n| n.to_string()).collect::<Vec<_>>().join(","))),
    ];
    for source in &hostile {
        let started = Instant::now();
        let _ = Policy::compile(source, "p.toml");
        assert!(started.elapsed() < SOON, "{:?} for {:.60}", started.elapsed(), source);
    }
}

#[test]
fn hostile_facts_end_the_assessment_with_an_error() {
    let source = "policy = \"p\"\nbasis = \"claim\"\nzone = \"Asia/Seoul\"\n[facts]\n\"claim.w\" = { type = \"window\" }\n\"claim.l\" = { type = \"list\", of = \"int\" }\n\
        [[rule]]\nwhen = \"any(days_of(claim.w), d, count(claim.l, x, any(claim.l, y, x + y == 7)) > 3 && year(d) > 0)\"\ndecline = \"nothing-due\"\n\
        [[rule]]\notherwise = true\nreview = \"people\"\n";
    let policy = Policy::compile(source, "p.toml").unwrap();
    let list = (0..4_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let facts = format!(
        "{{\"claim.w\": {{\"from\": \"2000-01-01T00:00:00Z\", \"until\": \"2005-01-01T00:00:00Z\"}}, \"claim.l\": [{list}]}}"
    );
    let started = Instant::now();
    let facts = Facts::from_json(&facts).unwrap();
    assert_eq!(policy.assess_facts(&facts).map_err(|error| error.code()).err(), Some("too-much-work"));
    assert!(started.elapsed() < SOON);
}
