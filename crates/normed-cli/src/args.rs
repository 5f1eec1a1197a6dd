//! The arguments.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use normed::data::{Split, TemplateName};
use normed::recipe::ByteSize;
use normed::study::Shard;
use normed::tensor::{Precision, Quantization};
use normed::tuning::Method;

/// Adapts medical vision-language models by tuning their LayerNorms.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Train what a recipe says.
    Train(TrainArgs),
    /// Say what a run will take, without reading weights.
    Plan(PlanArgs),
    /// Compare methods, models and data sets: run what is left of a study, and write its report.
    Study(StudyArgs),
    /// Make a base model, from a recipe with an [init] section.
    Pretrain(TrainArgs),
    /// Answer questions and score the answers.
    Evaluate(EvaluateArgs),
    /// Answer questions and write the answers to a file.
    Predict(PredictArgs),
    /// Fetch a checkpoint or a data set from the Hugging Face hub.
    Fetch(FetchArgs),
    /// Show a model's parameters by tower and role, and what a method would train.
    Inspect(InspectArgs),
    /// Make a model of a base and of what was published as a delta to it, as LLaVA-Med 1.0 was.
    ApplyDelta(ApplyDeltaArgs),
    /// Write a model again, the matrices of its linear layers in 8 or 4 bits.
    Quantize(QuantizeArgs),
    /// Write what a run trained as plain safetensors or as a PEFT directory.
    Export(ExportArgs),
    /// Say which norms differ between two models, and how far.
    Diff(DiffArgs),
    /// Make a plain model of a base and an adapter.
    Merge(MergeArgs),
    /// Score answers or reports that are in a file, under the rules of different papers.
    Score(ScoreArgs),
    /// Assign train, validate and test to the rows of a file, without sharing an image or a group.
    Split(SplitArgs),
}

#[derive(clap::Args)]
pub struct TrainArgs {
    /// The recipe, a TOML file.
    pub recipe: PathBuf,
    /// Sets a key of the recipe; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// The run directory, instead of the recipe's.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Stay inside this memory, as 6GiB or 900MB, instead of the recipe's.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory: Option<ByteSize>,
    /// Go on from where this run was stopped or killed.
    #[arg(long)]
    pub resume: bool,
    /// Leave the test split alone.
    #[arg(long)]
    pub no_test: bool,
    /// Sweep the learning rate over sixty steps, suggest one, draw the curve beside the run directory,
    /// and train nothing.
    #[arg(long, conflicts_with_all = ["resume", "no_test"])]
    pub find_lr: bool,
    #[command(flatten)]
    pub voice: Voice,
}

#[derive(clap::Args)]
pub struct PlanArgs {
    /// The recipe, a TOML file.
    pub recipe: PathBuf,
    /// Sets a key of the recipe; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Stay inside this memory, as 6GiB or 900MB, instead of the recipe's.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory: Option<ByteSize>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args)]
pub struct StudyArgs {
    /// The study, a TOML file.
    pub study: PathBuf,
    /// Sets a key of the study; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Run a part of it alone, as 2/8: the second of eight. Whoever finds all done writes the report.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Say what it will take, and do nothing; no weights are read.
    #[arg(long)]
    pub dry_run: bool,
    /// Print warnings and errors only.
    #[arg(long)]
    pub quiet: bool,
}

/// How much is printed.
#[derive(clap::Args, Clone, Copy)]
pub struct Voice {
    /// Print warnings and errors only.
    #[arg(long)]
    pub quiet: bool,
    /// Print JSON.
    #[arg(long, conflicts_with = "quiet")]
    pub json: bool,
}

/// A model, and the questions it is to answer.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("questions").required(true).args(["data", "recipe"]))]
pub struct AnswerArgs {
    /// The model's directory, or the ORG/NAME of one that was fetched.
    #[arg(long, value_name = "DIR", required_unless_present = "recipe")]
    pub model: Option<PathBuf>,
    /// What a run trained: an adapter's directory.
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// The questions: JSON lines of id, image, question, answer, answer_type, split; or the studies: of id,
    /// images, report, split.
    #[arg(long, value_name = "FILE.jsonl")]
    pub data: Option<PathBuf>,
    /// What is asked of a data file: its questions, or a report of each study.
    #[arg(long, value_enum, default_value = "vqa", conflicts_with = "recipe")]
    pub task: Asked,
    /// What a model is asked for a report, instead of the recipe's prompt or the usual one.
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// What image paths are relative to; the data file's directory if absent.
    #[arg(long, value_name = "DIR", conflicts_with = "recipe")]
    pub image_root: Option<PathBuf>,
    /// Take the data set of this recipe, and its model and rules of generation where no others are
    /// given.
    #[arg(long, value_name = "RECIPE")]
    pub recipe: Option<PathBuf>,
    /// Sets a key of the recipe; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "recipe")]
    pub settings: Vec<String>,
    /// The template of prompts, instead of the recipe's or the checkpoint's.
    #[arg(long, value_name = "NAME", value_parser = template())]
    pub template: Option<TemplateName>,
    /// train, validate or test; if absent, all rows of a file, the test split of a recipe.
    #[arg(long, value_name = "NAME", value_parser = split)]
    pub split: Option<Split>,
    /// The longest answer in tokens, the closing one included; 10 if nothing says otherwise, of reports 100.
    #[arg(long, value_name = "N", value_parser = at_least_1)]
    pub max_new_tokens: Option<usize>,
    /// Beams; 1 is greedy, and what is done if nothing says otherwise.
    #[arg(long, value_name = "N", value_parser = at_least_1)]
    pub num_beams: Option<usize>,
    /// Exponent of the length by which a beam's score is divided; 1 if nothing says otherwise.
    #[arg(long, value_name = "X", value_parser = finite, allow_negative_numbers = true)]
    pub length_penalty: Option<f32>,
    /// By what the score of a token is divided that was said already; 1 if nothing says otherwise.
    #[arg(long, value_name = "X", value_parser = above_0)]
    pub repetition_penalty: Option<f32>,
    /// 0 for the most likely answer; above, answers are drawn, by a distribution that is the flatter
    /// the larger this is.
    #[arg(long, value_name = "T", value_parser = temperature)]
    pub temperature: Option<f32>,
    /// Where answers are drawn, of the most likely tokens that have this probability together.
    #[arg(long, value_name = "P", value_parser = top_p)]
    pub top_p: Option<f32>,
    /// Where answers are drawn: another seed, other answers.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Examples answered at a time; changes nothing but rounding.
    #[arg(long, value_name = "N", default_value = "16", value_parser = at_least_1)]
    pub batch_size: usize,
    /// What weights and the factors of products are rounded to; if absent, what the recipe says, and
    /// without one f32, or what is faster here where the checkpoint holds less than f32.
    #[arg(long, value_name = "PRECISION", value_parser = precision())]
    pub precision: Option<Precision>,
    #[command(flatten)]
    pub voice: Voice,
}

#[derive(clap::Args)]
pub struct PredictArgs {
    #[command(flatten)]
    pub answers: AnswerArgs,
    /// Where the answers go.
    #[arg(long, value_name = "FILE.jsonl")]
    pub out: PathBuf,
}

#[derive(clap::Args)]
pub struct EvaluateArgs {
    #[command(flatten)]
    pub answers: AnswerArgs,
    /// Also score answers to the same questions with the images exchanged among them: what can be
    /// had without looking.
    #[arg(long)]
    pub blind: bool,
    /// Where the answers go, if they are to be kept; blind ones go beside them, to NAME_blind.jsonl.
    #[arg(long, value_name = "FILE.jsonl")]
    pub out: Option<PathBuf>,
}

#[derive(clap::Args)]
pub struct FetchArgs {
    /// The repository, as in ORG/NAME.
    pub name: String,
    /// It is a data set, not a model.
    #[arg(long)]
    pub dataset: bool,
    /// A branch, a tag or a commit; main if absent.
    #[arg(long, value_name = "REVISION")]
    pub revision: Option<String>,
    /// Only files that match, as in "*.json", in the place of those that are usually needed; may be
    /// given more than once.
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,
    /// Where the files go, in the place of the hub's cache, which Python reads, too.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub voice: Voice,
}

#[derive(clap::Args)]
pub struct InspectArgs {
    /// The model's directory, where config.json is enough, or the ORG/NAME of one that was fetched.
    pub dir: PathBuf,
    /// Show a prompt by this template, instead of the checkpoint's.
    #[arg(long, value_name = "NAME", value_parser = template())]
    pub template: Option<TemplateName>,
    /// Count what this method would train.
    #[arg(long, value_name = "METHOD", value_parser = method())]
    pub method: Option<Method>,
    /// Sets a key of a recipe's [tuning], as rank=8 or decoder.method=lora; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args)]
pub struct ApplyDeltaArgs {
    /// The model that the delta was made from, in Hugging Face's layout: LLaMA-7B for LLaVA-Med 1.0.
    pub base: PathBuf,
    /// The delta's directory.
    pub delta: PathBuf,
    /// Where the model goes.
    pub out: PathBuf,
    /// What its weights are rounded to.
    #[arg(long, value_name = "PRECISION", default_value = "bf16", value_parser = precision())]
    pub precision: Precision,
}

#[derive(clap::Args)]
pub struct MergeArgs {
    /// The model's directory, or the ORG/NAME of one that was fetched.
    pub base: PathBuf,
    /// The adapter's directory.
    pub adapter: PathBuf,
    /// Where the new model goes.
    pub out: PathBuf,
    #[command(flatten)]
    pub voice: Voice,
}

#[derive(clap::Args)]
pub struct QuantizeArgs {
    /// The model's directory.
    pub dir: PathBuf,
    /// 4 bits an element (nf4) or 8 (int8).
    #[arg(long, value_name = "KIND", value_parser = quantization())]
    pub to: Quantization,
    /// Where the new model goes; DIR-nf4 or DIR-int8 if absent.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub voice: Voice,
}

#[derive(clap::Args)]
pub struct ExportArgs {
    /// A run's directory, or an adapter's.
    #[arg(value_name = "RUN")]
    pub from: PathBuf,
    /// In which form.
    #[arg(long, value_enum)]
    pub format: Format,
    /// Where it goes: a file of safetensors, a directory for PEFT.
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// The base, instead of the one that the adapter names.
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
}

/// A form of what was trained.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// adapter_config.json, adapter_model.safetensors and README.md.
    Peft,
    /// One file of tensors under the names that they have in the Hugging Face model.
    Safetensors,
}

#[derive(clap::Args)]
pub struct DiffArgs {
    /// A checkpoint, a run or an adapter.
    #[arg(value_name = "A")]
    pub first: PathBuf,
    /// Another one over the same base, or the tuned one where A is the base.
    #[arg(value_name = "B")]
    pub second: PathBuf,
    /// The base of adapters, instead of the ones that they name.
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Draw it, by tower and depth.
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args)]
pub struct ScoreArgs {
    /// JSON lines: what `normed predict` writes; for coco, of id, prediction, and references or target.
    pub file: PathBuf,
    /// By which rules: one protocol for answers, all of them side by side, or coco for reports.
    #[arg(long, value_enum, default_value = "all")]
    pub protocol: Rules,
    /// For METEOR of reports: an installed pycocoevalcap 1.2, whose tables of synonyms, paraphrases and
    /// function words it takes. Without them, METEOR's score by exact words and stems alone is given, as
    /// meteor_exact_stem.
    #[arg(long, value_name = "DIR")]
    pub meteor_data: Option<PathBuf>,
    /// Score nothing, and write reports as another program reads them.
    #[arg(long, value_enum, requires = "out", conflicts_with_all = ["protocol", "json", "meteor_data"])]
    pub export: Option<Export>,
    /// Where what is exported goes.
    #[arg(long, value_name = "FILE.jsonl", requires = "export")]
    pub out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A program that reads reports.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Export {
    /// RadEval 2: JSON lines of ref and hyp.
    Radeval,
}

/// Rules by which texts are scored.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Rules {
    /// All protocols for answers.
    All,
    /// normed's own.
    Strict,
    /// MISS's ACC.py.
    Miss,
    /// LLaVA-Med's run_eval.py, v1.0.0.
    LlavaMed,
    /// The VQA challenge's.
    Vqa,
    /// The COCO caption tools'.
    Coco,
}

#[derive(clap::Args)]
pub struct SplitArgs {
    /// The rows: JSON lines.
    #[arg(long, value_name = "FILE.jsonl")]
    pub data: PathBuf,
    /// What no two splits may share. A row without a group stands for its image.
    #[arg(long, value_enum)]
    pub by: By,
    /// The part of the groups that is held out for choosing a checkpoint.
    #[arg(long, value_name = "PART", default_value_t = 0.1)]
    pub validate: f64,
    /// The part of the groups that is held out for the figures that are reported.
    #[arg(long, value_name = "PART", default_value_t = 0.2)]
    pub test: f64,
    /// Another seed, other splits.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Where the rows go, with their splits.
    #[arg(long, value_name = "FILE.jsonl")]
    pub out: PathBuf,
}

/// What is asked of a data file.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Asked {
    /// Its questions.
    Vqa,
    /// A report of each study.
    Report,
}

/// What no two splits may share.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The patient or study that a row's `group` names.
    Group,
    /// The image.
    Image,
}

fn split(name: &str) -> Result<Split, String> {
    Split::from_name(name).ok_or_else(|| "there are train, validate and test".to_owned())
}

fn size(text: &str) -> Result<ByteSize, String> {
    text.parse()
}

fn at_least_1(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n >= 1 => Ok(n),
        _ => Err("must be a whole number from 1 up".to_owned()),
    }
}

fn temperature(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(t) if t >= 0.0 && t.is_finite() => Ok(t),
        _ => Err("must be a number from 0 up".to_owned()),
    }
}

fn finite(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|x: &f32| x.is_finite()).ok_or_else(|| "must be a number".to_owned())
}

fn above_0(text: &str) -> Result<f32, String> {
    finite(text).ok().filter(|x| *x > 0.0).ok_or_else(|| "must be a number above 0".to_owned())
}

fn top_p(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(p) if p > 0.0 && p <= 1.0 => Ok(p),
        _ => Err("must be a number above 0 and up to 1".to_owned()),
    }
}

fn method() -> impl clap::builder::TypedValueParser<Value = Method> {
    use clap::builder::{PossibleValuesParser, TypedValueParser};
    PossibleValuesParser::new(Method::ALL.map(Method::name)).map(|name| {
        let known = Method::ALL.into_iter().find(|method| method.name() == name);
        known.expect("the parser lets only these names pass")
    })
}

fn template() -> impl clap::builder::TypedValueParser<Value = TemplateName> {
    use clap::builder::{PossibleValuesParser, TypedValueParser};
    PossibleValuesParser::new(TemplateName::ALL.map(TemplateName::name)).map(|name| {
        let known = TemplateName::ALL.into_iter().find(|template| template.name() == name);
        known.expect("the parser lets only these names pass")
    })
}

fn precision() -> impl clap::builder::TypedValueParser<Value = Precision> {
    use clap::builder::{PossibleValuesParser, TypedValueParser};
    PossibleValuesParser::new(["f32", "bf16"]).map(|name| match name.as_str() {
        "bf16" => Precision::Bf16,
        _ => Precision::F32,
    })
}

fn quantization() -> impl clap::builder::TypedValueParser<Value = Quantization> {
    use clap::builder::{PossibleValuesParser, TypedValueParser};
    PossibleValuesParser::new(Quantization::ALL.map(Quantization::name)).map(|name| {
        let known = Quantization::ALL.into_iter().find(|to| to.name() == name);
        known.expect("the parser lets only these names pass")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "normed evaluate --recipe r.toml --split val --set data.root=x",
            "normed predict --model m --data d.jsonl --temperature 0.2 --top-p 0.7 --seed 3 --out p",
            "normed inspect m --method layer_norm --json --template chat",
            "normed inspect m --method lora --set rank=8 --set towers=[\"text\"]",
            "normed predict --model m --data d.jsonl --template vicuna_v1 --out p.jsonl",
            "normed train r.toml --set a=1 --set b=2 --resume --quiet --output o",
            "normed pretrain r.toml",
            "normed merge base run/adapter out --json",
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
            "normed predict --model m --data d --out p --temperature -1",
            "normed predict --model m --data d --out p --top-p 0",
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
}
