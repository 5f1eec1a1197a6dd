//! A process that the system kills as soon as it opens a socket to a network.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// Has the kernel kill the process of `command` if it asks for a socket that is not one between processes of this
/// machine (`AF_UNIX`).
pub fn forbid_network(command: &mut Command) {
    let domain = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Ne,
        libc::AF_UNIX.unsigned_abs().into(),
    );
    let rule = SeccompRule::new(vec![domain.unwrap()]).unwrap();
    let filter = SeccompFilter::new(
        [(libc::SYS_socket, vec![rule])].into(),
        SeccompAction::Allow,
        SeccompAction::KillProcess,
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    let apply = move || apply_filter(&program).map_err(io::Error::other);
    // SAFETY: between fork and exec it makes two system calls and allocates nothing, unless one fails.
    unsafe { command.pre_exec(apply) };
}
