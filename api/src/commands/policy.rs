//! `redress policy check|test|assess`: what authors run on policy files, without a database and without a server.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use redress_domain::policy::{
    Assessment, CaseFile, CaseReport, Clause, Diagnostic, Facts, Language, OutcomeKind, Policy, Severity, ValueUsed,
};
use serde::Serialize;
use serde_json::json;

/// How a command prints what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// Everything is in order.
pub const DONE: u8 = 0;
/// A check failed.
pub const FAILED: u8 = 1;
/// The command was used wrongly: a path that is not there, nothing to work on.
pub const USAGE: u8 = 2;

/// The most policy files one command goes through.
const MAX_FILES: usize = 10_000;
/// The deepest folder it looks into.
const MAX_DEPTH: usize = 16;
/// The largest file it reads; the engine's own limits are below it.
const MAX_BYTES: u64 = 4 << 20;

// ---- check ----------------------------------------------------------------------------------------

#[derive(Serialize)]
struct CheckedFile {
    file: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    diagnostics: Vec<Diagnostic>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Checks policy files: syntax, types, units, bounds, fairness.
pub fn check(paths: &[PathBuf], output: Output, out: &mut dyn Write) -> io::Result<u8> {
    let files = match find(paths) {
        Ok(files) => files,
        Err(problem) => return usage(&problem, output, out),
    };
    let mut checked: Vec<CheckedFile> = files.iter().map(|file| check_file(file)).collect();
    name_twins(&mut checked);
    let cases: Vec<&PathBuf> = paths.iter().filter(|path| policy_of(path) != **path && path.is_file()).collect();
    cases.iter().for_each(|cases| check_cases(cases, &mut checked));
    let failed = checked.iter().filter(|file| !file.ok).count();
    match output {
        Output::Json => print_json(out, &json!({ "ok": failed == 0, "policies": checked }))?,
        Output::Text => {
            for file in &checked {
                for diagnostic in &file.diagnostics {
                    writeln!(out, "{diagnostic}\n")?;
                }
                if let Some(problem) = &file.problem {
                    writeln!(out, "{}: {problem}\n", file.file)?;
                }
            }
            let warnings = checked
                .iter()
                .flat_map(|file| &file.diagnostics)
                .filter(|found| found.severity == Severity::Warning)
                .count();
            writeln!(out, "{}", check_summary(checked.len(), failed, warnings))?;
            if !cases.is_empty() && failed == 0 {
                writeln!(out, "The cases can be read; redress policy test runs them.")?;
            }
        }
    }
    Ok(if failed == 0 { DONE } else { FAILED })
}

fn check_summary(all: usize, failed: usize, warnings: usize) -> String {
    let warned = if warnings == 0 { String::new() } else { format!(", {}", counted(warnings, "warning")) };
    match failed {
        0 => format!("{} checked: all good{warned}", counted(all, "policy")),
        _ => format!("{} checked: {failed} refused, {} good{warned}", counted(all, "policy"), all - failed),
    }
}

fn counted(count: usize, what: &str) -> String {
    super::print::counted(u64::try_from(count).unwrap_or(u64::MAX), what)
}

fn check_file(path: &Path) -> CheckedFile {
    let file = path.display().to_string();
    let source = match read(path) {
        Ok(source) => source,
        Err(problem) => {
            return CheckedFile {
                file,
                ok: false,
                policy: None,
                version: None,
                diagnostics: Vec::new(),
                problem: Some(problem),
            };
        }
    };
    match Policy::compile(&source, &file) {
        Ok(policy) => CheckedFile {
            ok: !policy.notes().iter().any(Diagnostic::refuses),
            policy: Some(policy.id().to_string()),
            version: Some(policy.version().to_owned()),
            diagnostics: policy.notes().to_vec(),
            problem: None,
            file,
        },
        Err(diagnostics) => CheckedFile { file, ok: false, policy: None, version: None, diagnostics, problem: None },
    }
}

/// Reads the cases that were named, and puts what is wrong with them beside their policy.
fn check_cases(cases: &Path, checked: &mut [CheckedFile]) {
    let policy = policy_of(cases).display().to_string();
    let Some(file) = checked.iter_mut().find(|file| file.file == policy) else { return };
    match read(cases).map(|text| CaseFile::parse(&text, &cases.display().to_string())) {
        Ok(Ok(_)) => return,
        Ok(Err(diagnostics)) => file.diagnostics.extend(diagnostics),
        Err(problem) => file.problem = Some(problem),
    }
    file.ok = false;
}

/// Two files with one policy's name would publish over each other.
fn name_twins(checked: &mut [CheckedFile]) {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    for file in checked {
        let Some(policy) = &file.policy else { continue };
        if let Some(other) = first.get(policy) {
            file.problem = Some(format!("the policy `{policy}` is already declared in {other}; rename one of them"));
            file.ok = false;
        } else {
            first.insert(policy.clone(), file.file.clone());
        }
    }
}

// ---- test -----------------------------------------------------------------------------------------

#[derive(Serialize)]
struct TestedFile {
    file: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<CaseReport>,
    diagnostics: Vec<Diagnostic>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Runs the cases beside policy files and demands that every rule and every bound is covered.
pub fn test(paths: &[PathBuf], output: Output, out: &mut dyn Write) -> io::Result<u8> {
    let files = match find(paths) {
        Ok(files) => files,
        Err(problem) => return usage(&problem, output, out),
    };
    let tested: Vec<TestedFile> = files.iter().map(|file| test_file(file)).collect();
    let ok = tested.iter().all(|file| file.ok);
    let reports = || tested.iter().filter_map(|file| file.report.as_ref());
    let cases: usize = reports().map(|report| report.cases.len()).sum();
    let passed = reports().flat_map(|report| &report.cases).filter(|case| case.passed()).count();
    let total: usize = reports().map(|report| report.coverage.total).sum();
    let covered: usize = reports().map(|report| report.coverage.covered).sum();
    let percent = (covered * 100).checked_div(total).unwrap_or(0);
    match output {
        Output::Json => {
            let coverage = json!({ "total": total, "covered": covered, "percent": percent });
            print_json(
                out,
                &json!({ "ok": ok, "cases": cases, "passed": passed, "coverage": coverage, "policies": tested }),
            )?;
        }
        Output::Text => {
            for file in &tested {
                print_tested(file, out)?;
            }
            let verdict = if ok { "all good" } else { "FAILED" };
            writeln!(
                out,
                "\n{}, {}: {passed} passed, {} failed; {covered} of {total} rules and bounds covered ({percent} %): {verdict}",
                counted(tested.len(), "policy"),
                counted(cases, "case"),
                cases - passed,
            )?;
        }
    }
    Ok(if ok { DONE } else { FAILED })
}

fn test_file(path: &Path) -> TestedFile {
    let checked = check_file(path);
    let mut tested = TestedFile {
        file: checked.file,
        ok: false,
        policy: checked.policy,
        version: checked.version,
        report: None,
        diagnostics: Vec::new(),
        problem: checked.problem,
    };
    let Ok(source) = read(path) else { return tested };
    let policy = match Policy::compile(&source, &tested.file) {
        Ok(policy) => policy,
        Err(diagnostics) => {
            tested.diagnostics = diagnostics;
            return tested;
        }
    };
    let beside = path.with_extension("cases.toml");
    let cases = match read(&beside) {
        Ok(text) => CaseFile::parse(&text, &beside.display().to_string()),
        Err(problem) => {
            tested.problem = Some(format!("{problem}; write its cases there: [[case]] name, facts, outcome …"));
            return tested;
        }
    };
    match cases {
        Ok(cases) => {
            let report = cases.run(&policy, &|name| sibling(path, name));
            tested.ok = report.passed();
            tested.report = Some(report);
        }
        Err(diagnostics) => tested.diagnostics = diagnostics,
    }
    tested
}

/// Another policy of the same folder, by the name of its file alone.
fn sibling(path: &Path, name: &str) -> Result<Policy, String> {
    let plain = !name.is_empty() && !name.contains(['/', '\\']) && name != ".." && name != ".";
    let folder = path.parent().filter(|_| plain).ok_or("name a file of the same folder")?;
    let path = folder.join(name);
    Policy::compile(&read(&path)?, &path.display().to_string())
        .map_err(|found| found.first().map_or_else(|| "it does not compile".to_owned(), |first| first.message.clone()))
}

fn print_tested(file: &TestedFile, out: &mut dyn Write) -> io::Result<()> {
    let mark = if file.ok { "ok  " } else { "FAIL" };
    match &file.report {
        None => writeln!(out, "{mark} {}", file.file)?,
        Some(report) => {
            let passed = report.cases.iter().filter(|case| case.passed()).count();
            let coverage = &report.coverage;
            writeln!(
                out,
                "{mark} {}: {passed} of {} passed, coverage {} % ({} of {})",
                file.file,
                counted(report.cases.len(), "case"),
                coverage.percent(),
                coverage.covered,
                coverage.total,
            )?;
            for case in report.cases.iter().filter(|case| !case.passed()) {
                writeln!(out, "     line {}: {}", case.line, case.name)?;
                for failure in &case.failures {
                    writeln!(out, "       {failure}")?;
                }
            }
            for missing in &coverage.missing {
                writeln!(out, "     not covered, line {}: {}; add {}", missing.line, missing.what, missing.wanted)?;
            }
        }
    }
    for diagnostic in &file.diagnostics {
        writeln!(out, "{diagnostic}\n")?;
    }
    if let Some(problem) = &file.problem {
        writeln!(out, "     {problem}")?;
    }
    Ok(())
}

// ---- assess ---------------------------------------------------------------------------------------

/// Applies a policy file to the facts of a facts file and prints outcome and trace.
pub fn assess(policy: &Path, facts: &Path, output: Output, out: &mut dyn Write) -> io::Result<u8> {
    let source = match read(policy) {
        Ok(source) => source,
        Err(problem) => return usage(&problem, output, out),
    };
    let text = match read(facts) {
        Ok(text) => text,
        Err(problem) => return usage(&problem, output, out),
    };
    let policy = match Policy::compile(&source, &policy.display().to_string()) {
        Ok(policy) => policy,
        Err(diagnostics) => {
            match output {
                Output::Json => print_json(out, &json!({ "outcome": "error", "diagnostics": diagnostics }))?,
                Output::Text => {
                    for diagnostic in &diagnostics {
                        writeln!(out, "{diagnostic}\n")?;
                    }
                    writeln!(out, "The policy cannot be used: {}.", counted(diagnostics.len(), "error"))?;
                }
            }
            return Ok(FAILED);
        }
    };
    let facts = match Facts::from_json(&text) {
        Ok(facts) => facts,
        Err(error) => {
            let message = format!("{}: {error}", facts.display());
            match output {
                Output::Json => {
                    let problem = json!({ "code": "facts", "message": message });
                    print_json(out, &json!({ "outcome": "error", "problem": problem }))?;
                }
                Output::Text => writeln!(out, "{message}")?,
            }
            return Ok(FAILED);
        }
    };
    let assessment = policy.explain_facts(&facts);
    match output {
        Output::Json => print_json(out, &with_sentences(&assessment)?)?,
        Output::Text => print_assessment(&assessment, out)?,
    }
    Ok(if assessment.outcome == OutcomeKind::Error { FAILED } else { DONE })
}

fn with_sentences(assessment: &Assessment) -> io::Result<serde_json::Value> {
    let mut document = serde_json::to_value(assessment).map_err(io::Error::other)?;
    if let Some(object) = document.as_object_mut() {
        let sentence =
            json!({ "ko": assessment.sentence(Language::Korean), "en": assessment.sentence(Language::English) });
        object.insert("sentence".to_owned(), sentence);
    }
    Ok(document)
}

/// An assessment with its trace, for a terminal.
pub fn print_assessment(assessment: &Assessment, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", headline(assessment))?;
    for award in &assessment.awards {
        writeln!(out, "  {} {}", award.amount, award.asset)?;
    }
    if let Some(problem) = &assessment.problem {
        let place = problem.line.map(|line| format!(" (line {line} of the policy)")).unwrap_or_default();
        writeln!(out, "  {}{place}", problem.message)?;
        writeln!(out, "  help: {}", problem.remedy)?;
    }
    for document in &assessment.evidence {
        writeln!(out, "  wanted: {}", document.code)?;
    }
    writeln!(out, "\n  ko: {}", assessment.sentence(Language::Korean))?;
    writeln!(out, "  en: {}", assessment.sentence(Language::English))?;
    writeln!(out, "\npolicy  {} version {}", assessment.policy, assessment.version)?;
    if let Some(reference) = &assessment.reference {
        writeln!(out, "source  {reference}")?;
    }
    if !assessment.rules.is_empty() {
        writeln!(out, "\nrules, in order")?;
    }
    for rule in &assessment.rules {
        let mark = if rule.matched { "->" } else { "  " };
        let reference = rule.reference.as_ref().map(|reference| format!("  [{reference}]")).unwrap_or_default();
        writeln!(out, "{mark} {}{reference}", rule.rule)?;
        for clause in &rule.clauses {
            print_clause(clause, out)?;
        }
    }
    print_values(&assessment.values, out)?;
    for rounding in &assessment.roundings {
        writeln!(out, "   rounded {} {} to {}: {}", rounding.before, rounding.mode, rounding.unit, rounding.after)?;
    }
    for cap in &assessment.caps {
        writeln!(out, "   cap {}: {} became {} {}", cap.cap, cap.before, cap.after, cap.asset)?;
    }
    Ok(())
}

fn headline(assessment: &Assessment) -> String {
    let by = assessment.rule.as_ref().map(|rule| format!(" by {rule}")).unwrap_or_default();
    match assessment.outcome {
        OutcomeKind::Award => format!("AWARD{by}"),
        OutcomeKind::Decline => {
            let reason = assessment.reason.as_ref().map_or("", |reason| &reason.code);
            let appeal = match &assessment.reason {
                Some(reason) if reason.appealable => "can be appealed",
                _ => "cannot be appealed",
            };
            format!("DECLINE{by}: {reason} ({appeal})")
        }
        OutcomeKind::Review => format!("REVIEW{by}: queue {}", assessment.queue.as_deref().unwrap_or("")),
        OutcomeKind::Pending => format!("PENDING{by}"),
        OutcomeKind::Error => "ERROR: it cannot be assessed".to_owned(),
    }
}

fn print_clause(clause: &Clause, out: &mut dyn Write) -> io::Result<()> {
    let found = if clause.holds { "yes" } else { "no " };
    let values = match (&clause.left, &clause.sign, &clause.right) {
        (Some(left), Some(sign), Some(right)) => format!("  ({left} {sign} {right})"),
        _ => String::new(),
    };
    writeln!(out, "     {found} {}{values}", clause.text)
}

fn print_values(values: &[ValueUsed], out: &mut dyn Write) -> io::Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nvalues used")?;
    let widest = values.iter().map(|value| value.name.chars().count()).max().unwrap_or(0);
    for value in values {
        let on = value.date.as_ref().map(|date| format!(" on {date}")).unwrap_or_default();
        let reference = value.reference.as_ref().map(|reference| format!("  [{reference}]")).unwrap_or_default();
        writeln!(out, "   {:widest$}  {}  from {}{on}{reference}", value.name, value.value, value.origin)?;
    }
    Ok(())
}

// ---- files ----------------------------------------------------------------------------------------

/// Every policy file of the paths: files as they are, folders with all that is in them.
fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    if paths.is_empty() {
        return Err("name a policy file or a folder of them".to_owned());
    }
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            collect(path, 0, &mut found)?;
        } else if path.is_file() {
            found.push(policy_of(path));
        } else {
            return Err(format!("{}: there is no such file or folder", path.display()));
        }
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(format!("no policy file (*.toml) in {}", shown.join(", ")));
    }
    Ok(found)
}

/// Who names a case file means the policy beside it.
fn policy_of(path: &Path) -> PathBuf {
    match path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".cases.toml")) {
        Some(stem) => path.with_file_name(format!("{stem}.toml")),
        None => path.to_owned(),
    }
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let unreadable = |error: io::Error| format!("{}: {error}", folder.display());
    if depth > MAX_DEPTH {
        return Err(format!("{}: nested deeper than {MAX_DEPTH} folders", folder.display()));
    }
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        if name.starts_with('.') {
            continue;
        }
        // Incidents are data of another kind.
        if path.is_dir() && name != "incidents" {
            collect(&path, depth + 1, found)?;
        } else if path.is_file() && name.ends_with(".toml") && !name.ends_with(".cases.toml") {
            found.push(path);
        }
        if found.len() > MAX_FILES {
            return Err(format!("more than {MAX_FILES} policy files"));
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?.len();
    if size > MAX_BYTES {
        return Err(format!("{}: larger than {MAX_BYTES} bytes", path.display()));
    }
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn usage(problem: &str, output: Output, out: &mut dyn Write) -> io::Result<u8> {
    match output {
        Output::Json => print_json(out, &json!({ "ok": false, "problem": problem }))?,
        Output::Text => writeln!(out, "{problem}")?,
    }
    Ok(USAGE)
}

fn print_json(out: &mut dyn Write, document: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    writeln!(out)
}
