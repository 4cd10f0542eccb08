//! .

pub mod act;
pub mod check;
pub mod evaluate;

pub fn main() -> std::process::ExitCode {
    // For trials of this branch only.
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("evaluate") => evaluate::run(),
        Some("act") => act::run(args[1].parse().unwrap()),
        Some("check") => check::run(args[1..].iter().map(Into::into).collect()),
        _ => std::process::ExitCode::from(2),
    }
}
