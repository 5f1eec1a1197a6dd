//! The cache of image features: a run writes the same bytes with it and without, whatever happens to the
//! cache meanwhile.

mod tiny;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use normed::models;
use normed::recipe::{CachePlace, Recipe};
use normed::tensor::{Recompute, RunPrecision};
use normed::train::{Completion, Event, RunOptions, Subject, run};

const FROZEN: &str = "method = \"full\"\ntowers = [\"text\", \"decoder\"]";

/// The recipe in `root` for a run in `root/name`, without noise in the vision tower.
fn recipe(root: &Path, name: &str, place: CachePlace) -> Recipe {
    let mut recipe = tiny::recipe(root, name);
    recipe.train.drop_path = 0.0;
    recipe.cache.place = place;
    recipe
}

/// Runs to the end, or until `stop` returns true for an event.
fn run_until(recipe: &Recipe, resume: bool, mut stop: impl FnMut(&Event) -> bool) -> Vec<Event> {
    let flag = Arc::new(AtomicBool::new(false));
    let options = RunOptions { resume, test: true, stop: Arc::clone(&flag) };
    let mut events = Vec::new();
    let outcome = run(recipe, &options, &mut |event| {
        events.push(event.clone());
        flag.fetch_or(stop(event), Ordering::Relaxed);
    });
    assert_eq!(outcome.unwrap() == Completion::Stopped, flag.load(Ordering::Relaxed));
    events
}

fn finish(recipe: &Recipe) -> Vec<Event> {
    run_until(recipe, false, |_| false)
}

/// Number of images in the cache, and of those that were encoded by this run.
fn cached(events: &[Event]) -> Option<(usize, usize)> {
    let mut cached = events.iter().filter_map(|event| match event {
        Event::Cached { images, computed, .. } => Some((*images, *computed)),
        _ => None,
    });
    let one = cached.next();
    assert_eq!(cached.next(), None);
    one
}

fn warnings(events: &[Event]) -> Vec<&str> {
    let messages = events.iter().filter_map(|event| match event {
        Event::Warning { message } => Some(message.as_str()),
        _ => None,
    });
    messages.collect()
}

fn image_files(root: &Path) -> Vec<PathBuf> {
    (0..36).map(|i| root.join(format!("{i}.png"))).collect()
}

/// The files in a cache.
fn files(place: &Path) -> Vec<PathBuf> {
    let list = |dir: &Path| -> Vec<PathBuf> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let mut files: Vec<_> = list(place).iter().flat_map(|prefix| list(prefix)).collect();
    files.sort();
    files
}

#[test]
fn a_run_writes_the_same_bytes_with_the_cache_and_without() {
    let settings = [
        (RunPrecision::F32, Recompute::None),
        (RunPrecision::Bf16, Recompute::Blocks),
        (RunPrecision::Int8, Recompute::Attention),
    ];
    for (precision, recompute) in settings {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        tiny::make(root, FROZEN, "epochs = 3");
        let shared = root.join("cache");
        let recipe = |name, place| {
            let mut recipe = recipe(root, name, place);
            (recipe.precision, recipe.train.recompute) = (precision, recompute);
            recipe
        };
        let without = finish(&recipe("without", CachePlace::Off));
        assert_eq!(cached(&without), None);
        let with = finish(&recipe("with", CachePlace::Run));
        assert_eq!(cached(&with), Some((36, 36)));
        tiny::assert_same(&root.join("without"), &root.join("with"));

        let first = finish(&recipe("first", CachePlace::At(shared.clone())));
        assert_eq!(cached(&first), Some((36, 36)));
        tiny::assert_same(&root.join("without"), &root.join("first"));

        // Another run with the same base model shares the cache and reads no image again.
        let mut sharing = recipe("sharing", CachePlace::At(shared.clone()));
        sharing.train.lr = 0.01;
        let gone = |event: &Event| {
            if matches!(event, Event::Cached { .. }) {
                image_files(root).iter().for_each(|path| fs::write(path, "gone").unwrap());
            }
            false
        };
        assert_eq!(cached(&run_until(&sharing, false, gone)), Some((36, 0)));
        let event = with.iter().find(|event| matches!(event, Event::Cached { .. })).unwrap();
        let Event::Cached { bytes, directory, .. } = event else { unreachable!() };
        // Five tokens of 16 channels.
        let width = if precision == RunPrecision::F32 { 4 } else { 2 };
        assert_eq!(*bytes, 36 * 5 * 16 * width);
        assert_eq!(*directory, root.join("with/checkpoint/states"));
    }
}

#[test]
fn a_resumed_run_uses_the_undamaged_files() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tiny::make(root, FROZEN, "epochs = 3");
    finish(&recipe(root, "whole", CachePlace::Off));

    // Stopped while it encodes images, four at a time.
    let broken = recipe(root, "broken", CachePlace::Run);
    let looked = |event: &Event| matches!(event, Event::Progress { subject: Subject::Images, done, .. } if *done == 8);
    assert_eq!(cached(&run_until(&broken, false, looked)), None);
    let mut steps = 0;
    let events = run_until(&broken, true, |event| {
        steps += usize::from(matches!(event, Event::StepDone { .. }));
        steps == 8
    });
    assert_eq!(cached(&events), Some((36, 28)));

    let states = files(&root.join("broken/checkpoint/states"));
    assert_eq!(states.len(), 9);
    let mut bytes = fs::read(&states[0]).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&states[0], bytes).unwrap();
    fs::write(&states[1], "half a fi").unwrap();
    fs::copy(&states[2], states[2].with_file_name("copy.safetensors")).unwrap();
    fs::rename(&states[2], states[2].with_extension("safetensors.old")).unwrap();
    let mut steps = 0;
    let events = run_until(&broken, true, |event| {
        steps += usize::from(matches!(event, Event::StepDone { .. }));
        steps == 2
    });
    assert_eq!(cached(&events), Some((36, 8)));
    assert_eq!(warnings(&events).len(), 2, "{:?}", warnings(&events));

    // A resumed run may keep its cache elsewhere.
    let events = run_until(&recipe(root, "broken", CachePlace::Off), true, |_| false);
    assert_eq!(cached(&events), None);
    tiny::assert_same(&root.join("whole"), &root.join("broken"));
}

#[test]
fn runs_share_a_directory_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tiny::make(root, FROZEN, "epochs = 2");
    finish(&recipe(root, "alone", CachePlace::Off));
    let place = CachePlace::At(root.join("cache"));
    let runs = ["one", "two", "three"].map(|name| recipe(root, name, place.clone()));
    std::thread::scope(|scope| {
        let started = runs.each_ref().map(|recipe| scope.spawn(|| finish(recipe)));
        for run in started {
            let events = run.join().unwrap();
            assert_eq!(cached(&events).unwrap().0, 36);
            assert!(warnings(&events).is_empty(), "{:?}", warnings(&events));
        }
    });
    for name in ["one", "two", "three"] {
        tiny::assert_same(&root.join("alone"), &root.join(name));
    }
}

#[test]
fn other_weights_preprocessing_or_images_are_encoded_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tiny::make(root, FROZEN, "epochs = 1");
    let mut n = 0;
    let mut computed = |change: &dyn Fn(&mut Recipe)| {
        n += 1;
        let [name, plain] = [format!("with-{n}"), format!("without-{n}")];
        let mut with = recipe(root, &name, CachePlace::At(root.join("cache")));
        change(&mut with);
        let mut without = recipe(root, &plain, CachePlace::Off);
        change(&mut without);
        let events = finish(&with);
        finish(&without);
        tiny::assert_same(&root.join(&name), &root.join(&plain));
        cached(&events).unwrap().1
    };
    assert_eq!(computed(&|_| {}), 36);
    assert_eq!(computed(&|recipe| recipe.seed = 9), 0);
    assert_eq!(computed(&|recipe| recipe.precision = RunPrecision::Bf16), 36);
    assert_eq!(computed(&|recipe| recipe.precision = RunPrecision::Int8), 36);
    assert_eq!(computed(&|recipe| recipe.image_size = Some(24)), 36);

    // An image that two questions share counts once; a changed image is another one.
    fs::copy(root.join("1.png"), root.join("0.png")).unwrap();
    assert_eq!(computed(&|_| {}), 0);
    image::GrayImage::from_pixel(9, 9, image::Luma([99])).save(root.join("0.png")).unwrap();
    assert_eq!(computed(&|_| {}), 1);

    let edit = |file: &str, change: &dyn Fn(&mut serde_json::Value)| {
        let path = root.join("base").join(file);
        let mut json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut json);
        fs::write(&path, json.to_string()).unwrap();
    };
    edit("preprocessor_config.json", &|json| json["image_std"] = 0.25.into());
    assert_eq!(computed(&|_| {}), 36);

    let save = |name: &str| {
        let mut base = models::load(&root.join("base"), None).unwrap();
        let id = base.params.find(name).unwrap();
        base.params.get_mut(id).value_mut().data_mut()[0] += 0.25;
        models::save(&base, &root.join("base"), false).unwrap();
    };
    save("text_decoder.cls.predictions.bias");
    assert_eq!(computed(&|_| {}), 0);
    save("vision_model.encoder.layers.1.self_attn.qkv.weight");
    assert_eq!(computed(&|_| {}), 36);

    // The same weights in another model structure.
    edit("config.json", &|json| json["vision_config"]["num_attention_heads"] = 4.into());
    assert_eq!(computed(&|_| {}), 36);
}

#[test]
fn only_a_frozen_encoder_without_noise_is_cached() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tiny::make(root, FROZEN, "epochs = 2");
    // With noise, training images are encoded in every step, and only the others are cached.
    let noisy = |name, place| {
        let mut recipe = recipe(root, name, place);
        recipe.train.drop_path = 0.5;
        recipe
    };
    finish(&noisy("plain", CachePlace::Off));
    assert_eq!(cached(&finish(&noisy("noisy", CachePlace::Run))), Some((12, 12)));
    tiny::assert_same(&root.join("plain"), &root.join("noisy"));

    let mut small = recipe(root, "small", CachePlace::Run);
    small.cache.max_gib = 1e-6;
    let events = finish(&small);
    assert_eq!(cached(&events), None);
    assert!(warnings(&events)[0].contains("36 images would take 0.0 GiB"), "{events:?}");

    let dir = tempfile::tempdir().unwrap();
    tiny::make(dir.path(), "method = \"layer_norm\"", "epochs = 1");
    assert_eq!(cached(&finish(&recipe(dir.path(), "trained", CachePlace::Run))), None);
}
