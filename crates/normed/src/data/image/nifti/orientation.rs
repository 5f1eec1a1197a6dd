//! The directions of the voxel axes in the body.

/// Three columns: the step along each voxel axis in the coordinates right, front, head.
pub(super) type Affine = [[f64; 3]; 3];

/// The axis of the body that a voxel axis runs along (0 from left to right, 1 from back to front, 2 from feet to
/// head), and whether it runs the other way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Direction {
    pub body: usize,
    pub reversed: bool,
}

/// The direction of each voxel axis, as nibabel's `io_orientation`: of the rotation nearest to the
/// affine, the axes with the largest component first.
pub(super) fn orientation(affine: &Affine) -> Result<[Direction; 3], String> {
    let mut rotation =
        rotation(affine).ok_or("its affine matrix is singular: its axes have no direction")?;
    let steepest = |column: &[f64; 3]| column.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    let mut order = [0, 1, 2];
    order.sort_by(|&i, &j| steepest(&rotation[j]).total_cmp(&steepest(&rotation[i])));
    let mut directions = [Direction { body: 0, reversed: false }; 3];
    let mut free = vec![0, 1, 2];
    for axis in order {
        let column = rotation[axis];
        // The first of equals.
        let body =
            free.iter().copied().rev().max_by(|&i, &j| column[i].abs().total_cmp(&column[j].abs()));
        let body = body.unwrap_or(0); // three axes, three places
        free.retain(|&other| other != body);
        directions[axis] = Direction { body, reversed: column[body] < 0.0 };
        rotation.iter_mut().for_each(|column| column[body] = 0.0);
    }
    Ok(directions)
}

/// The affine of a volume of one slice whose axis across has no direction: it is given the one across the others.
/// `shape` are the lengths of the axes.
pub(super) fn with_flat_axis(affine: Affine, shape: [usize; 4]) -> Affine {
    let is_flat = |axis: &usize| shape[*axis] == 1 && affine[*axis] == [0.0; 3];
    let mut completed = affine;
    if let Some(axis) = (0..3).find(is_flat) {
        completed[axis] = cross(affine[(axis + 1) % 3], affine[(axis + 2) % 3]);
    }
    completed
}

/// The rotation (or reflection) nearest to a matrix of columns of length 1: the orthogonal factor of its
/// polar decomposition, by Newton's iteration (Higham 1986). None if the matrix is singular.
fn rotation(affine: &Affine) -> Option<Affine> {
    let mut x = affine.map(|column| {
        let length = column.iter().map(|x| x * x).sum::<f64>().sqrt();
        column.map(|x| x / length)
    });
    for _ in 0..100 {
        let [a, b, c] = x;
        let cofactors = [cross(b, c), cross(c, a), cross(a, b)];
        let determinant: f64 = a.iter().zip(cofactors[0]).map(|(x, y)| x * y).sum();
        if determinant.is_nan() || determinant.abs() < 1e-9 {
            return None;
        }
        let mut change = 0.0_f64;
        for (column, cofactor) in x.iter_mut().zip(cofactors) {
            for (x, c) in column.iter_mut().zip(cofactor) {
                let next = 0.5 * (*x + c / determinant);
                change = change.max((next - *x).abs());
                *x = next;
            }
        }
        if change < 1e-12 {
            break;
        }
    }
    Some(x)
}

fn cross([a, b, c]: [f64; 3], [d, e, f]: [f64; 3]) -> [f64; 3] {
    [b * f - c * e, c * d - a * f, a * e - b * d]
}
