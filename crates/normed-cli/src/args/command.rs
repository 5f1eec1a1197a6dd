//! The commands, in the order in which a user needs them.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use normed::Range;

use super::answers::{AskArgs, EvaluateArgs, PredictArgs};
use super::files::{ScoreArgs, SplitArgs};
use super::hub::FetchArgs;
use super::image::ShowArgs;
use super::import::ImportArgs;
use super::models::{ApplyDeltaArgs, DiffArgs, ExportArgs, InspectArgs, MergeArgs, QuantizeArgs};
use super::train::{InitArgs, PlanArgs, StudyArgs, TrainArgs};
use super::values::{Overwrite, in_range};
use crate::output::Verbosity;

/// Fine-tune medical vision-language models by training their LayerNorms.
#[derive(Parser)]
#[command(name = "normed", version = normed::build::FULL_VERSION, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "\
A typical session: make rows, write a recipe, train, ask.
  normed import qa.xlsx --image-root scans --out qa.jsonl
  normed init qa.jsonl --model MODEL --out my.toml
  normed train my.toml
  normed ask --adapter runs/my --image 1.png --question Q

`normed COMMAND --help` has options and examples.

Exit codes:
  0    success
  1    a failure of the machine or of the run
  2    wrong input: a recipe, a file, an option
  130  stopped by Ctrl-C; everything is saved")]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
    /// Print only results, warnings and errors
    #[arg(short, long, global = true, display_order = 900)]
    pub quiet: bool,
    /// Also print what was found and chosen: models, settings, threads
    #[arg(short, long, global = true, conflicts_with = "quiet", display_order = 900)]
    pub verbose: bool,
    /// Number of threads [default: one for each core, or RAYON_NUM_THREADS]
    #[arg(long, value_name = "N", global = true, display_order = 900, value_parser = in_range(THREADS))]
    pub threads: Option<usize>,
}

/// The range of the number of threads.
const THREADS: Range<usize> = Range::from_to(1, 1024);

impl Args {
    /// How much is printed, and in which form.
    pub fn verbosity(&self) -> Verbosity {
        let json = match &self.command {
            Command::Train(args) | Command::Pretrain(args) => args.format.json,
            Command::Ask(args) => args.format.json,
            Command::Predict(args) => args.answers.format.json,
            Command::Evaluate(args) => args.answers.format.json,
            Command::Show(args) => args.json,
            Command::Plan(args) => args.json,
            Command::Inspect(args) => args.json,
            Command::Fetch(args) => args.format.json,
            Command::Score(args) => args.json,
            Command::Diff(args) => args.json,
            Command::Merge(args) => args.format.json,
            Command::Quantize(args) => args.format.json,
            Command::Import(_)
            | Command::Init(_)
            | Command::Study(_)
            | Command::Split(_)
            | Command::Export(_)
            | Command::Completions(_)
            | Command::Man(_)
            | Command::ApplyDelta(_) => false,
        };
        Verbosity { quiet: self.quiet, verbose: self.verbose, json }
    }
}

#[derive(Subcommand)]
pub enum Command {
    /// Make the rows of a data set from a spreadsheet and a folder of images
    #[command(after_help = "\
Examples:
  normed import qa.xlsx --image-root images --out data.jsonl
  normed import qa.csv --image File --question Frage --answer Antwort --group Patient --out data.jsonl")]
    Import(ImportArgs),
    /// Write a first recipe for a data file, with settings chosen from the data
    #[command(after_help = "\
Examples:
  normed init data.jsonl --model Salesforce/blip-vqa-base
  normed init data.jsonl --model models/my --out my.toml")]
    Init(InitArgs),
    /// Train a model as described in a recipe file
    #[command(after_help = "\
Examples:
  normed train recipe.toml --set train.epochs=5 --output runs/five_epochs
  normed train recipe.toml --memory 6GiB --resume")]
    Train(TrainArgs),
    /// Ask a model one question about an image, or for a report
    #[command(after_help = "\
Examples:
  normed ask --adapter runs/recipe --image chest.dcm --question 'is there an effusion?'
  normed ask --model org/name --image front.png --image side.png --task report --json")]
    Ask(AskArgs),
    /// Answer questions, or write reports, and save them to a file
    #[command(after_help = "\
Examples:
  normed predict --recipe recipe.toml --adapter runs/recipe --out answers.jsonl
  normed predict --model org/name --data questions.jsonl --out answers.jsonl --num-beams 3")]
    Predict(PredictArgs),
    /// Answer questions, or write reports, and score them
    #[command(after_help = "\
Examples:
  normed evaluate --recipe recipe.toml --adapter runs/recipe --blind
  normed evaluate --model org/name --data studies.jsonl --task report --json")]
    Evaluate(EvaluateArgs),
    /// Show an image as a model sees it: decoded, windowed, turned upright, resized and cropped
    #[command(after_help = "\
Examples:
  normed show chest.dcm --model runs/recipe --out view.png
  normed show brain.nii.gz --axis sagittal --slice 90 --window percentiles --out view.png")]
    Show(ShowArgs),
    /// Compare methods, models and data sets: run the parts of a study that are not done yet, then write
    /// its report
    #[command(after_help = "\
Examples:
  normed study study.toml --dry-run
  normed study study.toml --shard 2/8")]
    Study(StudyArgs),
    /// Estimate the memory and time of a run, without loading the model's weights
    #[command(after_help = "\
Examples:
  normed plan recipe.toml --memory 6GiB
  normed plan recipe.toml --set train.batch_size=32 --json")]
    Plan(PlanArgs),
    /// Count a model's parameters by tower and role, and how many a method would train
    #[command(after_help = "\
Examples:
  normed inspect org/name --method layer_norm
  normed inspect models/my --method lora --set rank=4 --set 'towers=[\"text\", \"decoder\"]'")]
    Inspect(InspectArgs),
    /// Fetch a model or a data set from the Hugging Face hub
    #[command(after_help = "\
Examples:
  normed fetch Salesforce/blip-vqa-base
  normed fetch flaviagiammarino/vqa-rad --dataset")]
    Fetch(FetchArgs),
    /// Divide the rows of a file into train, validation and test splits without sharing an image or a group
    #[command(after_help = "\
Examples:
  normed split --data rows.jsonl --by group --out split.jsonl
  normed split --data rows.jsonl --by image --validate 0.1 --test 0.3 --out split.jsonl")]
    Split(SplitArgs),
    /// Score saved answers or reports by the scoring rules of different papers
    #[command(after_help = "\
Examples:
  normed score answers.jsonl
  normed score reports.jsonl --protocol coco --json")]
    Score(ScoreArgs),
    /// Compare the norm layers of two models, and show how much each changed
    #[command(after_help = "\
Examples:
  normed diff models/base runs/recipe
  normed diff runs/one runs/two --svg changes.svg")]
    Diff(DiffArgs),
    /// Save trained weights as plain safetensors or as a PEFT folder
    #[command(after_help = "\
Examples:
  normed export runs/recipe --format safetensors --out norms.safetensors
  normed export runs/recipe --format peft --out peft_adapter")]
    Export(ExportArgs),
    /// Merge an adapter into its base model
    #[command(after_help = "\
Examples:
  normed merge models/base runs/recipe models/merged
  normed merge org/name runs/recipe models/merged --norm-dtype base")]
    Merge(MergeArgs),
    /// Save a copy of a model with its linear layers quantized to 8 or 4 bits
    #[command(after_help = "\
Examples:
  normed quantize models/base --to nf4
  normed quantize models/base --to int8 --output models/small")]
    Quantize(QuantizeArgs),
    /// Train a new base model from scratch (recipe with an [init] section), or continue training one
    #[command(after_help = "\
Examples:
  normed pretrain base.toml
  normed pretrain base.toml --set train.epochs=20 --resume")]
    Pretrain(TrainArgs),
    /// Print a script that completes normed's commands in a shell
    #[command(after_help = "\
Examples:
  normed completions bash > ~/.local/share/bash-completion/completions/normed
  normed completions zsh > ~/.zfunc/_normed")]
    Completions(CompletionsArgs),
    /// Write manual pages, one per command
    #[command(after_help = "\
Examples:
  normed man ~/.local/share/man/man1
  normed man target/man")]
    Man(ManArgs),
    /// Rebuild a model from a base model and a published weight delta (LLaVA-Med 1.0)
    #[command(after_help = "\
Examples:
  normed apply-delta models/llama-7b models/llava-med-delta models/llava-med
  normed apply-delta models/llama-7b models/llava-med-delta models/llava-med --precision f32")]
    ApplyDelta(ApplyDeltaArgs),
}

#[derive(clap::Args)]
pub struct CompletionsArgs {
    /// Shell to complete in
    pub shell: Shell,
}

#[derive(clap::Args)]
pub struct ManArgs {
    /// Output folder for the pages
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    #[command(flatten)]
    pub overwrite: Overwrite,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_stands_above_its_own_options_alone() {
        let command = <Args as clap::CommandFactory>::command();
        for sub in command.get_subcommands() {
            for argument in sub.get_arguments() {
                let name = argument.get_id().as_str();
                let is_of_images = ["window", "frame", "axis", "slice"].contains(&name);
                let heading = argument.get_help_heading();
                assert_eq!(heading == Some("Images"), is_of_images, "{} --{name}", sub.get_name());
            }
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
        fn parse(line: &str) -> Result<Args, clap::Error> {
            Args::try_parse_from(line.split_whitespace())
        }
        for line in [
            "normed predict --model m --adapter a --data d.jsonl --image-root i --split test \
             --max-new-tokens 3 --num-beams 3 --out p.jsonl",
            "normed evaluate --model m --data d.jsonl --blind --json --precision bf16",
            "normed ask --adapter r --image a --image b --question q --json --window -600,1500",
            "normed ask --model m --adapter r --image a --task report --frame 3 --axis coronal --slice middle",
            "normed predict --adapter r --data -",
            "normed show i.dcm --recipe r.toml --set image_size=224 --window range --out v.png --json",
            "normed show i.dcm --model m --frame 2 --out v.png --force",
            "normed evaluate --recipe r.toml --split val --set data.root=x",
            "normed predict --model m --data d.jsonl --temperature 0.2 --top-p 0.7 --seed 3 --out p",
            "normed inspect m --method layer_norm --json --template chat",
            "normed inspect m --method lora --set rank=8 --set towers=[\"text\"]",
            "normed predict --model m --data d.jsonl --template vicuna_v1 --out p.jsonl",
            "normed train r.toml --set a=1 --set b=2 --resume --quiet --output o",
            "normed pretrain r.toml",
            "normed merge base run/adapter out --json",
            "normed merge base run/adapter out --norm-dtype base",
            "normed completions zsh",
            "normed man pages",
            "normed quantize m --to nf4",
            "normed quantize m --to int8 --output o --json",
            "normed fetch org/name --dataset --revision v1 --include *.json --include a/* --output d",
            "normed evaluate --model m --data d.jsonl --task report --prompt Report. \
             --repetition-penalty 1.2 --length-penalty -1",
            "normed predict --recipe r.toml --prompt a --out p",
            "normed train r.toml --memory 6GiB",
            "normed train r.toml --find-lr --set a=1 --json",
            "normed plan r.toml --set a=1 --memory 900MB --json",
            "normed score p.jsonl",
            "normed score p.jsonl --protocol llava-med --json",
            "normed score p.jsonl --protocol coco --meteor-data d",
            "normed score p.jsonl --export radeval --out r.jsonl",
            "normed study s.toml --set seeds=[1] --shard 2/8",
            "normed study s.toml --dry-run --quiet",
            "normed split --data d.jsonl --by group --out s.jsonl",
            "normed export run --format safetensors --out t.safetensors",
            "normed export run/adapter --format peft --out dir --model base",
            "normed diff base run --svg d.svg --json",
            "normed apply-delta llama delta out --precision f32",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
        for line in [
            "normed predict --model m --out p.jsonl",
            "normed predict --data d.jsonl --out p.jsonl",
            "normed predict --model m --data d --recipe r --out p",
            "normed predict --model m --data d --out p --precision f16",
            "normed predict --model m --data d --out p --num-beams 0",
            "normed predict --model m --data d --out p --num-beams 1001",
            "normed predict --model m --data d --out p --max-new-tokens 18446744073709551615",
            "normed predict --model m --data d --out p --batch-size 576460752303423488",
            "normed predict --model m --data d --out p --temperature -1",
            "normed predict --model m --data d --out p --top-p 0",
            "normed ask --image a --question q",
            "normed ask --model m --question q",
            "normed ask --model m --image a --question q --window 40,0",
            "normed ask --model m --image a --question q --window 40",
            "normed ask --model m --image a --question q --axis left",
            "normed evaluate --recipe r --image-root i",
            "normed evaluate --recipe r --task report",
            "normed predict --model m --data d --out p --repetition-penalty 0",
            "normed predict --model m --data d --out p --task reports",
            "normed inspect m --method lor",
            "normed inspect m --template vicuna",
            "normed apply-delta llama delta",
            "normed train r.toml --quiet --json",
            "normed plan r.toml --memory 6",
            "normed score p.jsonl --protocol bleu",
            "normed score p.jsonl --export radeval",
            "normed train r.toml --find-lr --resume",
            "normed study s.toml --shard 0/2",
            "normed study s.toml --shard 3/2",
            "normed merge base out",
            "normed quantize m",
            "normed export run --format onnx --out o",
            "normed diff a",
            "normed quantize m --to fp4",
        ] {
            let error = parse(line).err().unwrap_or_else(|| panic!("{line} passed"));
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    /// Every command has two examples, and each of them can be typed.
    #[test]
    fn the_examples_can_be_parsed() {
        let mut command = <Args as clap::CommandFactory>::command();
        command.build();
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let text = sub.get_after_help().unwrap_or_else(|| panic!("{}", sub.get_name()));
            let text = text.to_string();
            let mut lines = text.lines();
            assert_eq!(lines.next(), Some("Examples:"));
            let lines: Vec<_> = lines.map(str::trim).collect();
            assert_eq!(lines.len(), 2, "{text}");
            for line in lines {
                let line = line.split(" > ").next().unwrap_or_default();
                let words = split_like_a_shell(line);
                assert!(line.starts_with(&format!("normed {} ", sub.get_name())), "{line}");
                if let Err(error) = Args::try_parse_from(&words) {
                    panic!("{line}: {error}");
                }
            }
        }
    }

    fn split_like_a_shell(line: &str) -> Vec<String> {
        let parts = line.split('\'').enumerate().flat_map(|(i, part)| match i % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
        parts.collect()
    }
}
