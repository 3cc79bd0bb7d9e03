//! The command line.

use std::path::PathBuf;

use andromeda_trainer::lr_find::SweepOptions;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Trains language models from Andromeda's shards.
///
/// Exit codes: 0 done, 2 usage, 10 worth another try, 20 failed for good, 30 data that is not what it should be, 40 busy, 130 or 143
/// interrupted (the step was finished and saved).
#[derive(Debug, Parser)]
#[command(name = "andromeda-train", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What a run would be: parameters, operations, epochs, and whether its memory is there
    Plan(PlanArgs),
    /// Which learning rate a configuration bears: a short sweep that saves nothing
    LrFind(LrFindArgs),
    /// Start a run, or go on with it where it exists
    Run(RunArgs),
    /// All stages of a strategy, each begun or gone on with, and what is learnt after each
    Strategy(StrategyArgs),
    /// Go on with a run as it was configured
    Resume(ResumeArgs),
    /// Loss and bits per byte of a run's newest checkpoint
    Eval(EvalArgs),
    /// Steps of a configuration on made-up tokens: tokens a second, MFU, memory, each operation's share
    Bench(BenchArgs),
    /// A run as one HTML page, or several over each other: losses by dataset, rates, samples, configuration
    Report(ReportArgs),
    /// Runs on the same held-out text and tasks: differences with intervals, as a table, JSON or a page
    Compare(CompareArgs),
    /// A configuration with some fields varied, each combination a run, sorted by what they are judged by
    Sweep(SweepArgs),
    /// Which of two builds teaches a model more, with an interval
    Ablate(AblateArgs),
    /// The documents and the text that a step was trained on
    Trace(TraceArgs),
    /// Text from a run's newest checkpoint
    Sample(SampleArgs),
    /// A dialogue with a run that was trained on dialogues
    Chat(ChatArgs),
    /// A checkpoint as other programs read it
    Export(ExportArgs),
    /// A folder of transformers as a run
    Import(ImportArgs),
    /// The tasks there are, or one of them as its file has it
    Tasks(TasksArgs),
    /// What a run's newest checkpoint can do: tasks with known answers
    Evaluate(EvaluateArgs),
    /// Score answers of any model to a task, or write what to ask it
    Score(ScoreArgs),
    /// What runs one program of a task, for this program itself
    #[command(hide = true)]
    Sandbox,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Folders {
    /// Folder of runs
    #[arg(long, default_value = "runs")]
    pub(crate) runs: PathBuf,
    /// Folder of builds
    #[arg(long, default_value = "shards")]
    pub(crate) shards: PathBuf,
    /// JSON on stdout instead of talk
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The build; without it the newest in the folder of builds, or the one that the run was trained on
    #[arg(long)]
    pub(crate) build: Option<PathBuf>,
    /// Go on although the build is another one: its root hash, as the refusal printed it
    #[arg(long, value_name = "ROOT")]
    pub(crate) accept_root: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration
    #[arg(long, default_value = "trainer/configs/tiny.toml")]
    pub(crate) config: PathBuf,
    /// Lay a value over the configuration, as `schedule.steps=100`
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
}

/// Several workers on one run; by default there is one.
#[derive(Debug, Args)]
pub(crate) struct WorkersArgs {
    /// Start so many workers on this machine, which share each step and the processors; this process is the first
    #[arg(long, value_name = "N", conflicts_with_all = ["coordinator", "rank", "world_size"])]
    pub(crate) workers: Option<usize>,
    /// Where the first worker listens, the same for all; without it `MASTER_ADDR` and `MASTER_PORT`
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) coordinator: Option<String>,
    /// Which worker this is, from 0; without it `RANK`
    #[arg(long)]
    pub(crate) rank: Option<usize>,
    /// How many workers there are; without it `WORLD_SIZE`
    #[arg(long, value_name = "N")]
    pub(crate) world_size: Option<usize>,
    /// How workers talk: `tcp`, or `nccl` from GPU to GPU
    #[arg(long, value_enum, default_value_t)]
    pub(crate) transport: TransportName,
    /// Seconds to wait until all workers are there
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(crate) join_seconds: u64,
    /// Seconds after which a worker that says nothing is taken for dead; longer than an evaluation takes
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    pub(crate) silence_seconds: u64,
}

/// How workers talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum TransportName {
    /// Connections of the network.
    #[default]
    Tcp,
    /// NVIDIA's library, in a program that was built with it.
    Nccl,
}

impl WorkersArgs {
    /// This process by itself, whatever the environment says.
    pub(crate) fn alone() -> Self {
        Self {
            workers: Some(1),
            coordinator: None,
            rank: None,
            world_size: None,
            transport: TransportName::Tcp,
            join_seconds: 0,
            silence_seconds: 1,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) configuration: ConfigArgs,
    /// Workers that are to share each step: what one of them takes
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) workers: usize,
    /// The build; without it the newest in the folder of builds
    #[arg(long)]
    pub(crate) build: Option<PathBuf>,
    /// Folder of builds
    #[arg(long, default_value = "shards")]
    pub(crate) shards: PathBuf,
    /// JSON on stdout instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LrFindArgs {
    #[command(flatten)]
    pub(crate) configuration: ConfigArgs,
    /// The build; without it the newest in the folder of builds
    #[arg(long)]
    pub(crate) build: Option<PathBuf>,
    /// Folder of builds
    #[arg(long, default_value = "shards")]
    pub(crate) shards: PathBuf,
    /// Learning rate of the first step
    #[arg(long, default_value_t = SweepOptions::default().first_rate)]
    pub(crate) first: f64,
    /// Learning rate of the last step, if the loss has not run away before
    #[arg(long, default_value_t = SweepOptions::default().last_rate)]
    pub(crate) last: f64,
    /// Steps at most
    #[arg(long, default_value_t = SweepOptions::default().steps)]
    pub(crate) steps: u64,
    /// JSON on stdout instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// A strategy, all stages of which are run, as `andromeda-train strategy` does
    #[arg(conflicts_with_all = ["config", "run", "from", "build", "accept_root", "workers", "coordinator"])]
    pub(crate) strategy: Option<PathBuf>,
    /// Which of the strategy's sizes
    #[arg(long, requires = "strategy")]
    pub(crate) size: Option<String>,
    #[command(flatten)]
    pub(crate) configuration: ConfigArgs,
    /// Name of the run; without it the name of the configuration
    #[arg(long)]
    pub(crate) run: Option<String>,
    /// Begin with the parameters of another run, of its newest checkpoint or the one after so many steps
    #[arg(long, value_name = "RUN[@STEP]")]
    pub(crate) from: Option<String>,
    /// With --from: the moments of its optimizer too
    #[arg(long, requires = "from")]
    pub(crate) carry_moments: bool,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
    #[command(flatten)]
    pub(crate) workers: WorkersArgs,
    #[command(flatten)]
    pub(crate) folders: Folders,
}

#[derive(Debug, Args)]
pub(crate) struct StrategyArgs {
    /// The strategy
    pub(crate) strategy: PathBuf,
    /// Which of its sizes
    #[arg(long)]
    pub(crate) size: Option<String>,
    /// Lay a value over a stage's configuration, as `pretrain.schedule.steps=100`, or over what is asked, as `evaluation.limit=50`
    #[arg(long = "set", value_name = "STAGE.SECTION.KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
    #[command(flatten)]
    pub(crate) folders: Folders,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// Name of the run
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
    #[command(flatten)]
    pub(crate) workers: WorkersArgs,
    #[command(flatten)]
    pub(crate) folders: Folders,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SplitArg {
    Val,
    Test,
}

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// Name of the run
    pub(crate) run: String,
    /// The build; without it the one that the run was trained on
    #[arg(long)]
    pub(crate) build: Option<PathBuf>,
    /// The split
    #[arg(long, value_enum, default_value = "val")]
    pub(crate) split: SplitArg,
    /// The average of the weights that `optimizer.ema-decay` keeps, instead of the last ones
    #[arg(long)]
    pub(crate) ema: bool,
    /// Sequences to read at most; without it the whole split
    #[arg(long)]
    pub(crate) sequences: Option<u64>,
    #[command(flatten)]
    pub(crate) folders: Folders,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) configuration: ConfigArgs,
    /// Tokens of the tokenizer
    #[arg(long, default_value_t = 50_257)]
    pub(crate) vocabulary: usize,
    /// Steps; the fastest counts, but for the first
    #[arg(long, default_value_t = 4)]
    pub(crate) steps: u64,
    /// JSON on stdout instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Names of runs
    #[arg(required = true)]
    pub(crate) run: Vec<String>,
    /// Folder of runs
    #[arg(long, default_value = "runs")]
    pub(crate) runs: PathBuf,
    /// The page; without it one under `reports`, named after the runs
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Names of runs; all others are held against the first
    #[arg(required = true, num_args = 2..)]
    pub(crate) run: Vec<String>,
    /// The build whose text they read; without it the one that the first run was trained on
    #[arg(long)]
    pub(crate) build: Option<PathBuf>,
    /// The split
    #[arg(long, value_enum, default_value = "val")]
    pub(crate) split: SplitArg,
    /// Tokens to read at most, from the beginning of the split; without it all of it
    #[arg(long)]
    pub(crate) tokens: Option<u64>,
    /// Tasks of `andromeda-train tasks`, or files of some
    #[arg(long, value_delimiter = ',', value_name = "TASK,...")]
    pub(crate) tasks: Vec<String>,
    #[command(flatten)]
    pub(crate) sets: EvaluationSets,
    /// Answers to tasks and no losses: the runs may have any tokenizers
    #[arg(long, requires = "tasks")]
    pub(crate) tasks_only: bool,
    /// Also write a page with the curves of the runs over each other
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) folders: Folders,
}

#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// The sweep
    pub(crate) sweep: PathBuf,
    /// The page with plots; without it one under `reports`, named after the sweep
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) folders: Folders,
}

#[derive(Debug, Args)]
pub(crate) struct AblateArgs {
    /// The first build: a folder, or the name of the newest so called in the folder of builds
    #[arg(long, value_name = "BUILD")]
    pub(crate) a: PathBuf,
    /// The second build
    #[arg(long, value_name = "BUILD")]
    pub(crate) b: PathBuf,
    /// The build on whose validation split they are judged; without it on what those of both have in common
    #[arg(long, value_name = "BUILD")]
    pub(crate) judge: Option<PathBuf>,
    /// Tokens to judge on at most
    #[arg(long, value_name = "TOKENS", default_value_t = 1 << 20)]
    pub(crate) judge_tokens: u64,
    /// Seeds, of first values and of order, under which each build is trained on
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) seeds: u64,
    /// What the runs' names begin with
    #[arg(long, default_value = "ablate")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) configuration: ConfigArgs,
    #[command(flatten)]
    pub(crate) folders: Folders,
}

#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// Name of the run
    pub(crate) run: String,
    /// The step, counted from 1; one more than are done is the next one
    pub(crate) step: u64,
    /// The build; without it the one that the step was trained on
    #[arg(long)]
    pub(crate) build: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) folders: Folders,
}

#[derive(Debug, Args)]
pub(crate) struct SampleArgs {
    /// Name of the run
    pub(crate) run: String,
    /// The average of the weights that `optimizer.ema-decay` keeps, instead of the last ones
    #[arg(long)]
    pub(crate) ema: bool,
    /// What the model goes on from
    #[arg(long)]
    pub(crate) prompt: Option<String>,
    /// Tokens to make at most
    #[arg(long)]
    pub(crate) tokens: Option<usize>,
    /// 0 takes the likeliest token always
    #[arg(long)]
    pub(crate) temperature: Option<f64>,
    /// Draw from this many of the likeliest tokens only; 0 for all
    #[arg(long)]
    pub(crate) top_k: Option<usize>,
    /// Of these, draw only from the likeliest whose probabilities reach this sum; 1 for all
    #[arg(long)]
    pub(crate) top_p: Option<f64>,
    /// Seed of the draws
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) folders: Folders,
}

#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// Name of the run
    pub(crate) run: String,
    /// The checkpoint after so many steps; without it the newest
    #[arg(long)]
    pub(crate) step: Option<u64>,
    /// What stands before the first question
    #[arg(long)]
    pub(crate) system: Option<String>,
    /// How dialogues are written down; without it as in the build that the run was trained on
    #[arg(long, value_enum)]
    pub(crate) format: Option<ChatFormatArg>,
    /// Tokens of an answer at most
    #[arg(long, default_value_t = 512)]
    pub(crate) tokens: usize,
    /// 0 takes the likeliest token always
    #[arg(long)]
    pub(crate) temperature: Option<f64>,
    /// Draw from this many of the likeliest tokens only; 0 for all
    #[arg(long)]
    pub(crate) top_k: Option<usize>,
    /// Of these, draw only from the likeliest whose probabilities reach this sum; 1 for all
    #[arg(long)]
    pub(crate) top_p: Option<f64>,
    /// Seed of the draws
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) folders: Folders,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ChatFormatArg {
    HumanAssistant,
    Alpaca,
    #[value(name = "llama-2")]
    Llama2,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum TargetArg {
    /// A folder that transformers loads without custom code
    Transformers,
    /// A folder with the one file that llama.cpp reads
    Gguf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum PrecisionArg {
    F32,
    Bf16,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Name of the run
    pub(crate) run: String,
    /// Who is to read it
    #[arg(long, value_enum)]
    pub(crate) to: TargetArg,
    /// The folder to write, which must not exist
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Numbers of the tensors; the checkpoint has f32
    #[arg(long, value_enum, default_value = "f32")]
    pub(crate) dtype: PrecisionArg,
    /// The checkpoint after so many steps; without it the newest
    #[arg(long)]
    pub(crate) step: Option<u64>,
    /// The average of the weights and not the weights
    #[arg(long)]
    pub(crate) ema: bool,
    /// Folder of runs
    #[arg(long, default_value = "runs")]
    pub(crate) runs: PathBuf,
    /// JSON on stdout instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The folder: config.json, tokenizer.json, safetensors
    pub(crate) from: PathBuf,
    /// Name of the run to make
    #[arg(long)]
    pub(crate) run: String,
    /// The token that ends a document; without it the one that config.json names
    #[arg(long, value_name = "TOKEN")]
    pub(crate) end_of_text: Option<String>,
    /// Folder of runs
    #[arg(long, default_value = "runs")]
    pub(crate) runs: PathBuf,
    /// JSON on stdout instead of talk
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TasksArgs {
    /// Print the file of this task
    #[arg(long, value_name = "TASK")]
    pub(crate) show: Option<String>,
    /// JSON on stdout instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// What tasks are made of.
#[derive(Debug, Args)]
pub(crate) struct EvaluationSets {
    /// Folder of evaluation sets, laid out as on their hub or as they are published; no parquet: `andromeda rows --of NAME` brings JSON lines
    #[arg(long, value_name = "DIR", default_value = "evaluation-sets")]
    pub(crate) data: PathBuf,
    /// Only the first items of each part
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

/// Of tasks whose answers are programs, as humaneval.
#[derive(Debug, Args)]
pub(crate) struct ExecuteArgs {
    /// Run the programs that a model made, in namespaces of their own; refused where a layer of them is missing
    #[arg(long)]
    pub(crate) execute_untrusted: bool,
    /// The interpreter that runs them, its name or path
    #[arg(
        long,
        value_name = "PATH",
        default_value = "python3",
        requires = "execute_untrusted"
    )]
    pub(crate) python: PathBuf,
    /// Seconds that each may take with its test
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600), requires = "execute_untrusted")]
    pub(crate) program_seconds: u64,
}

#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    /// Name of the run
    pub(crate) run: String,
    /// Tasks of `andromeda-train tasks`, or files of some
    #[arg(long, value_delimiter = ',', required = true, value_name = "TASK,...")]
    pub(crate) tasks: Vec<String>,
    #[command(flatten)]
    pub(crate) sets: EvaluationSets,
    /// Completions of each prompt, where a task wants text
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    pub(crate) samples: usize,
    /// Divides the logits; 0 takes the likeliest token always [default: 0 for one completion, 0.8 for several]
    #[arg(long)]
    pub(crate) temperature: Option<f64>,
    /// Only the likeliest tokens whose probabilities first reach this sum are drawn from
    #[arg(long, default_value_t = 1.0)]
    pub(crate) top_p: f64,
    /// Seed of the draws
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// A run that judges steps (objective.kind = "process"): it chooses among the completions
    #[arg(long, value_name = "RUN")]
    pub(crate) judge: Option<String>,
    #[command(flatten)]
    pub(crate) execute: ExecuteArgs,
    /// Also print the scores of each part of a task
    #[arg(long)]
    pub(crate) parts: bool,
    #[command(flatten)]
    pub(crate) folders: Folders,
}

#[derive(Debug, Args)]
pub(crate) struct ScoreArgs {
    /// A task of `andromeda-train tasks`, or a file of one
    pub(crate) task: String,
    #[command(flatten)]
    pub(crate) sets: EvaluationSets,
    #[command(flatten)]
    pub(crate) execute: ExecuteArgs,
    /// The answers, as JSON lines
    #[arg(long, value_name = "FILE", required_unless_present = "requests")]
    pub(crate) responses: Option<PathBuf>,
    /// Write what to ask, as JSON lines, and score nothing
    #[arg(long, value_name = "FILE", conflicts_with = "responses")]
    pub(crate) requests: Option<PathBuf>,
    /// Also print the scores of each part of the task
    #[arg(long)]
    pub(crate) parts: bool,
    /// JSON on stdout instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}
