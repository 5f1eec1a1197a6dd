//! [`limit_instructions`] is of the whole process, which is why this test has one of its own.

use normed_engine::ops::{InstructionSet, Output, limit_instructions, linear};
use normed_engine::tensor::{
    Graph, Module, ParamKind, Parameters, RunPrecision, Tensor, Tower, Var,
};

#[test]
fn every_instruction_set_gives_the_same_bits_in_int8() {
    let values = |len: usize| (0..len).map(|i| ((i * 7919) % 1021) as f32 / 510.0 - 1.0).collect();
    let mut params = Parameters::new();
    let mut scope = params.scope(Tower::Text, "");
    let weight = scope.declare("w", &[70, 300], Module::Fc1, ParamKind::Weight);
    params.get_mut(weight).set(Tensor::new(&[70, 300], values(70 * 300)));
    params.set_precision(RunPrecision::Int8);
    let x = Var::constant(Tensor::new(&[19, 300], values(19 * 300)));
    let results = [
        InstructionSet::Portable,
        InstructionSet::Avx2,
        InstructionSet::Avx512,
        InstructionSet::Amx,
    ]
    .map(|set| {
        limit_instructions(set);
        let y = linear(&mut Graph::inference(&params), &x, weight, None, Output::F32);
        y.value.into_data()
    });
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}
