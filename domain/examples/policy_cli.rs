//! throw-away
#![allow(missing_docs, unreachable_pub)]
#[path = "../../api/src/commands/policy.rs"]
mod policy;
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let json = args.iter().any(|a| a == "--json");
    let rest: Vec<std::path::PathBuf> = args.iter().skip(1).filter(|a| *a != "--json").map(Into::into).collect();
    let output = if json { policy::Output::Json } else { policy::Output::Text };
    let out = &mut std::io::stdout();
    let code = match args[0].as_str() {
        "check" => policy::check(&rest, output, out),
        "test" => policy::test(&rest, output, out),
        _ => policy::assess(&rest[0], &rest[1], output, out),
    };
    std::process::exit(code.unwrap().into());
}
