//! The program `redress`: one binary that serves, issues and answers its operator.

fn main() -> std::process::ExitCode {
    redress::main()
}
