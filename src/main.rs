use std::process::ExitCode;

fn main() -> ExitCode {
    twitcher::cli::main()
}
