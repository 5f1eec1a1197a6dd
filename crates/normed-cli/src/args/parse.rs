//! Parsing of the command line, with answers to options of other programs.

use clap::Parser as _;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use super::command::Args;
use crate::output::print_error;

/// Options that other programs have, and what normed has instead.
const OTHER_OPTIONS: [(&[&str], &str); 4] = [
    (
        &["--device", "--gpu", "--gpus", "--cuda", "--device-map", "--accelerator"],
        "normed computes on the CPU; GPUs are not supported yet. Leave the option out",
    ),
    (
        &["--fp16", "--bf16", "--half"],
        "the number format is the recipe's: --set precision=bf16, or f32",
    ),
    (
        &["--num-workers", "--num_workers", "--workers", "-j"],
        "normed uses all processors; --threads N sets another number",
    ),
    (
        &[
            "--lr",
            "--learning-rate",
            "--learning_rate",
            "--epochs",
            "--num_train_epochs",
            "--batch-size",
            "--batch_size",
            "--rank",
            "--lora_r",
            "--output-dir",
            "--output_dir",
        ],
        "settings are the recipe's: --set train.lr=1e-3, --set train.epochs=5, --set train.batch_size=8, --output DIR",
    ),
];

/// Parses the arguments of the process. Wrong ones end it, with what to write instead where that is known.
pub fn parse() -> Args {
    Args::try_parse().unwrap_or_else(|error| {
        if let Some(answer) = answer(&error) {
            // Its own tip is an option of a similar name, which does something else.
            let option = error.get(ContextKind::InvalidArg).map(ToString::to_string);
            let cause = "is not an option of this command";
            print_error(
                &normed::Error::invalid(option.unwrap_or_default(), cause).with_remedy(answer),
            );
            std::process::exit(error.exit_code());
        }
        error.exit()
    })
}

/// What normed has instead of the option that an error is about.
fn answer(error: &Error) -> Option<&'static str> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let option = option.split('=').next()?;
    let answer = OTHER_OPTIONS.iter().find(|(options, _)| options.contains(&option));
    answer.map(|(_, answer)| *answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_other_programs_are_answered() {
        let answer = |line: &str| {
            let error = Args::try_parse_from(line.split_whitespace()).err().unwrap();
            answer(&error).unwrap_or_default()
        };
        assert!(answer("normed train r.toml --device cuda").contains("on the CPU"));
        assert!(answer("normed train r.toml --device=cuda").contains("on the CPU"));
        assert!(answer("normed train r.toml --learning_rate 1").contains("--set train.lr"));
        assert_eq!(answer("normed train r.toml --nonsense"), "");
    }
}
