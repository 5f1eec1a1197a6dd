//! What keys are called that other programs call differently, and where keys stand that are written in a wrong table.

/// A key of a recipe, or that there is none, by the names that other programs have for it.
struct OtherNames {
    /// The key's own name, where it has one, and names in Hugging Face's Trainer and PEFT, LLaVA's scripts, PyTorch
    /// Lightning and timm.
    names: &'static [&'static str],
    /// The table, empty for the keys above all tables, and the key; `None` if normed has nothing of the kind.
    own: Option<(&'static str, &'static str)>,
    /// What differs.
    note: &'static str,
}

const fn same(
    names: &'static [&'static str],
    table: &'static str,
    key: &'static str,
) -> OtherNames {
    OtherNames { names, own: Some((table, key)), note: "" }
}

const fn with_note(
    names: &'static [&'static str],
    table: &'static str,
    key: &'static str,
    note: &'static str,
) -> OtherNames {
    OtherNames { names, own: Some((table, key)), note }
}

const fn nothing(names: &'static [&'static str], note: &'static str) -> OtherNames {
    OtherNames { names, own: None, note }
}

const OTHER_NAMES: &[OtherNames] = &[
    same(
        &[
            "model",
            "model_name_or_path",
            "model_name",
            "base_model",
            "pretrained_model",
            "checkpoint",
        ],
        "",
        "model",
    ),
    same(
        &["output", "output_dir", "out_dir", "save_dir", "logging_dir", "default_root_dir"],
        "",
        "output",
    ),
    same(&["random_seed", "data_seed"], "", "seed"),
    same(&["image_size", "img_size", "input_size", "resolution"], "", "image_size"),
    same(&["template", "conv_mode", "chat_template", "version"], "", "template"),
    with_note(
        &["precision", "bf16", "mixed_precision", "torch_dtype", "dtype"],
        "",
        "precision",
        "\"bf16\", \"f32\" or \"int8\"; without it, normed takes the faster of bf16 and f32",
    ),
    with_note(
        &["fp16", "half", "amp"],
        "",
        "precision",
        "\"bf16\", \"f32\" or \"int8\"; there is no float16",
    ),
    same(&["memory", "max_memory", "memory_limit"], "", "memory"),
    same(
        &["train_file", "data_path", "dataset_path", "annotation_file", "data_file"],
        "data",
        "file",
    ),
    same(&["image_root", "image_folder", "image_dir", "images_dir"], "data", "image_root"),
    same(&["task", "task_type"], "data", "task"),
    same(&["dataset", "dataset_name"], "data", "name"),
    same(
        &["epochs", "num_train_epochs", "num_epochs", "max_epochs", "n_epochs", "train_epochs"],
        "train",
        "epochs",
    ),
    with_note(
        &["max_steps", "num_steps", "total_steps"],
        "train",
        "epochs",
        "passes over the training rows",
    ),
    same(
        &[
            "batch_size",
            "per_device_train_batch_size",
            "train_batch_size",
            "micro_batch_size",
            "bs",
        ],
        "train",
        "batch_size",
    ),
    with_note(
        &["per_device_eval_batch_size", "eval_batch_size", "test_batch_size"],
        "train",
        "batch_size",
        "evaluations have the same",
    ),
    same(
        &[
            "grad_accum_steps",
            "gradient_accumulation_steps",
            "accumulate_grad_batches",
            "grad_accum",
        ],
        "train",
        "grad_accum_steps",
    ),
    with_note(
        &["recompute", "gradient_checkpointing", "activation_checkpointing"],
        "train",
        "recompute",
        "\"none\", \"ffn\", \"attention\" or \"blocks\"",
    ),
    same(&["lr", "learning_rate", "base_lr", "max_lr"], "train", "lr"),
    same(&["min_lr", "final_lr", "lr_end"], "train", "min_lr"),
    same(&["vision_lr", "vision_tower_lr", "mm_vision_tower_lr"], "train", "vision_lr"),
    same(&["weight_decay", "wd"], "train", "weight_decay"),
    with_note(
        &["adam_betas", "adam_beta1", "adam_beta2", "betas"],
        "train",
        "adam_betas",
        "a list of two",
    ),
    same(&["adam_eps", "adam_epsilon", "eps"], "train", "adam_eps"),
    with_note(
        &["schedule", "lr_scheduler_type", "lr_scheduler", "scheduler", "sched"],
        "train",
        "schedule",
        "\"cosine\", \"linear\" or \"constant\"",
    ),
    same(&["warmup_ratio"], "train", "warmup_ratio"),
    with_note(
        &["warmup_steps", "num_warmup_steps", "warmup_epochs", "warmup"],
        "train",
        "warmup_ratio",
        "a fraction of all steps",
    ),
    same(&["label_smoothing", "label_smoothing_factor", "smoothing"], "train", "label_smoothing"),
    same(
        &["max_grad_norm", "gradient_clip_val", "clip_grad", "grad_clip", "clip_grad_norm"],
        "train",
        "max_grad_norm",
    ),
    same(&["dropout", "hidden_dropout", "hidden_dropout_prob"], "train", "dropout"),
    same(&["drop_path", "drop_path_rate"], "train", "drop_path"),
    with_note(
        &[
            "eval_every_epochs",
            "eval_steps",
            "evaluation_strategy",
            "eval_strategy",
            "check_val_every_n_epoch",
            "eval_interval",
        ],
        "train",
        "eval_every_epochs",
        "in epochs",
    ),
    same(&["eval_examples", "max_eval_samples"], "train", "eval_examples"),
    same(&["patience", "early_stopping_patience", "early_stopping"], "train", "patience"),
    same(&["metric", "metric_for_best_model", "monitor"], "train", "metric"),
    same(
        &["checkpoint_every_steps", "save_steps", "save_interval", "save_strategy"],
        "train",
        "checkpoint_every_steps",
    ),
    same(
        &[
            "holdout",
            "val_split",
            "validation_split",
            "val_size",
            "val_ratio",
            "validation_split_percentage",
        ],
        "train",
        "holdout",
    ),
    with_note(
        &["fraction", "max_train_samples", "subset", "limit_train_batches"],
        "train",
        "fraction",
        "a fraction of the training images or groups",
    ),
    with_note(
        &["method", "peft_type", "peft_method", "tune_mode"],
        "tuning",
        "method",
        "such as \"layer_norm\" or \"lora\"",
    ),
    with_note(&["rank", "r", "lora_r", "lora_rank"], "tuning", "rank", "with method = \"lora\""),
    with_note(&["alpha", "lora_alpha"], "tuning", "alpha", "with method = \"lora\""),
    with_note(
        &["targets", "target_modules", "lora_target_modules"],
        "tuning",
        "targets",
        "with method = \"lora\" or \"ia3\"; the layers are called \"query\", \"key\", \"value\", \"output\", \"fc1\" and \
         \"fc2\" in every model",
    ),
    with_note(&["modules_to_save"], "tuning", "also", "\"head\", \"embeddings\" or \"projector\""),
    with_note(
        &["length", "num_virtual_tokens", "prefix_length", "prompt_length"],
        "tuning",
        "length",
        "with method = \"prefix\", \"p_tuning_v2\" or \"prompt\"",
    ),
    same(
        &["max_new_tokens", "max_target_length", "max_answer_length", "generation_max_length"],
        "generate",
        "max_new_tokens",
    ),
    with_note(
        &["max_length", "max_seq_length", "model_max_length", "max_source_length", "cutoff_len"],
        "generate",
        "max_new_tokens",
        "of answers; a question may be as long as the model allows",
    ),
    same(&["num_beams", "beams", "beam_size", "generation_num_beams"], "generate", "num_beams"),
    same(&["length_penalty"], "generate", "length_penalty"),
    same(&["repetition_penalty"], "generate", "repetition_penalty"),
    with_note(
        &["temperature", "do_sample"],
        "generate",
        "temperature",
        "0 always takes the most likely token",
    ),
    same(&["top_p"], "generate", "top_p"),
    nothing(
        &["lora_dropout"],
        "normed's LoRA has no dropout of its own; `dropout` in [train] is that of the text towers",
    ),
    nothing(
        &["bias"],
        "for biases use method = \"bitfit\", or method = [\"lora\", \"bitfit\"] in [tuning]",
    ),
    nothing(&["optim", "optimizer", "opt"], "normed trains with AdamW: leave the key out"),
    nothing(
        &["load_in_4bit", "load_in_8bit", "quantization_config", "bits"],
        "normed quantize makes a model of 4 or 8 bits, which `model` then names",
    ),
    nothing(
        &[
            "device",
            "device_map",
            "accelerator",
            "gpus",
            "cuda",
            "no_cuda",
            "use_cpu",
            "n_gpu",
            "gpu",
            "num_gpus",
            "devices",
        ],
        "normed computes on the CPU; GPUs are not supported yet. Leave the key out",
    ),
    nothing(
        &[
            "num_workers",
            "dataloader_num_workers",
            "pin_memory",
            "dataloader_pin_memory",
            "num_threads",
            "threads",
        ],
        "normed uses all processors; the environment variable RAYON_NUM_THREADS sets another number",
    ),
    nothing(
        &[
            "report_to",
            "logging_steps",
            "log_interval",
            "save_total_limit",
            "push_to_hub",
            "run_name",
            "remove_unused_columns",
        ],
        "normed logs every step, and keeps the best weights alone: leave the key out",
    ),
    nothing(
        &["resume", "resume_from_checkpoint", "overwrite_output_dir"],
        "normed train RECIPE --resume continues a run",
    ),
];

/// What to write instead of `key` in the table `table`, if other programs have this key or it belongs to another
/// table. The name of a table inside of another has both: `tuning.decoder`.
pub(super) fn own_name(table: &str, key: &str) -> Option<String> {
    let small = key.to_lowercase().replace('-', "_");
    let found = OTHER_NAMES.iter().find(|other| other.names.contains(&small.as_str()))?;
    let Some((own_table, own_key)) = found.own else { return Some(found.note.to_owned()) };
    let is_here = table == own_table
        || table.strip_prefix(own_table).is_some_and(|rest| rest.starts_with('.'));
    if own_key == key && is_here {
        return None; // a key of another method or data set
    }
    let place = match own_table {
        "" => "above all tables".to_owned(),
        table => format!("in [{table}]"),
    };
    let note = if found.note.is_empty() { String::new() } else { format!(": {}", found.note) };
    Some(match own_key == key {
        true => format!("`{key}` belongs {}", place.replacen("in ", "to ", 1)),
        false => format!("in normed this is `{own_key}` {place}{note}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_other_programs_are_answered_by_own_ones() {
        for (table, key, want) in [
            ("train", "learning_rate", "in normed this is `lr` in [train]"),
            ("", "learning_rate", "in normed this is `lr` in [train]"),
            ("", "lr", "`lr` belongs to [train]"),
            ("train", "output_dir", "in normed this is `output` above all tables"),
            ("tuning", "r", "in normed this is `rank` in [tuning]: with method = \"lora\""),
            ("tuning", "method-x", ""),
            (
                "train",
                "warmup_steps",
                "in normed this is `warmup_ratio` in [train]: a fraction of all steps",
            ),
            ("tuning.decoder", "rank", ""),
            (
                "",
                "device",
                "normed computes on the CPU; GPUs are not supported yet. Leave the key out",
            ),
        ] {
            assert_eq!(own_name(table, key).unwrap_or_default(), want, "{table} {key}");
        }
        let names = "learning_rate num_train_epochs num_epochs per_device_train_batch_size \
            gradient_accumulation_steps r rank lora_alpha lora_dropout warmup_ratio warmup_steps weight_decay \
            max_length bf16 fp16 output_dir target_modules eval_steps lr_scheduler_type optim max_grad_norm \
            label_smoothing_factor";
        for name in names.split_whitespace() {
            assert!(own_name("x", name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_name_stands_for_one_key() {
        let mut names: Vec<_> = OTHER_NAMES.iter().flat_map(|other| other.names).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    /// Every key that a hint names is one of the reference's.
    #[test]
    fn own_names_are_keys() {
        let page = crate::recipe::key_reference();
        for (table, key) in OTHER_NAMES.iter().filter_map(|other| other.own) {
            let title = if table.is_empty() {
                "## Top level".to_owned()
            } else {
                format!("## `[{table}]`")
            };
            let sections = page.split("\n## ").map(|section| format!("## {section}"));
            let mut own = sections.filter(|section| section.starts_with(&title));
            let row = format!("| `{key}` |");
            assert!(own.any(|section| section.contains(&row)), "{table} {key}");
        }
    }
}
