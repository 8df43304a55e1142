//! The command line and the environment.

/// The rounds of the small rows, unless `NETNS_BENCH_ROUNDS` says otherwise.
const ROUNDS: usize = 200;
/// The rounds that prove that it runs.
const QUICK: usize = 2;

/// What the process is to do.
pub(crate) enum Command {
    /// A test runner asks for tests: there are none.
    List,
    /// Measure, and print the table.
    Bench(Options),
    /// Do rounds of the row with this index, for the process that prints the table.
    Measure { row: usize, rounds: usize },
    /// Make and destroy namespaces until standard input ends.
    MakeLoad,
}

/// What is measured.
pub(crate) struct Options {
    /// The rounds of the small rows.
    pub(crate) rounds: usize,
    /// Whether to measure two nodes under load as well.
    pub(crate) load: bool,
    /// Only rows whose names contain this.
    pub(crate) filter: Option<String>,
}

/// Reads the command line; an error says what was wrong with it.
pub(crate) fn command() -> Result<Command, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--measure", row, rounds] => {
            let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is not a number"));
            return Ok(Command::Measure { row: number(row)?, rounds: number(rounds)? });
        }
        ["--make-load"] => return Ok(Command::MakeLoad),
        _ => {}
    }
    let mut quick = false;
    let mut bench = false;
    let mut options = Options { rounds: ROUNDS, load: false, filter: None };
    for argument in arguments {
        match argument.as_str() {
            "--bench" => bench = true,
            "--list" => return Ok(Command::List),
            "--test" | "--quick" => quick = true,
            "--load" => options.load = true,
            text if text.starts_with('-') => {
                return Err(format!(
                    "unknown option `{text}`: expected `--load`, `--quick` or a part of a row's name"
                ));
            }
            _ => options.filter = Some(argument),
        }
    }
    match std::env::var("NETNS_BENCH_ROUNDS") {
        _ if quick || !bench => options.rounds = QUICK,
        Ok(text) => {
            options.rounds = text.parse().ok().filter(|rounds| *rounds > 0).ok_or_else(|| {
                format!("`NETNS_BENCH_ROUNDS` is `{text}`: expected a number of rounds, such as `{ROUNDS}`")
            })?;
        }
        Err(_) => {}
    }
    Ok(Command::Bench(options))
}
