//! Where the platform refuses to confine clamd, as Lambda is reported to, scans go on and say so.

use scanner_tests::samples;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::support::{BUCKET, world};

/// A kernel that answers prctl(2) and seccomp(2) with EPERM, for the calling thread and what it
/// starts.
fn refuse_confinement() {
    let eperm = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let rules = [(libc::SYS_prctl, vec![]), (libc::SYS_seccomp, vec![])].into_iter().collect();
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, eperm, arch).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

#[test]
fn a_platform_that_refuses_the_filter_gets_its_scans_and_every_record_says_so() {
    let refused = std::thread::spawn(|| {
        refuse_confinement();
        assert!(!function_common::clamd::confine::shield_this_process());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = world().await;
            world.upload(BUCKET, "k", samples::eicar()).await.unwrap();
            assert_eq!(world.tag(BUCKET, "k", None).as_deref(), Some("infected"));
            world.record()["confined"].clone()
        })
    });
    assert_eq!(refused.join().unwrap(), false);
}

#[tokio::test]
async fn a_platform_that_allows_the_filter_is_said_to() {
    let world = world().await;
    world.upload(BUCKET, "k", samples::text()).await.unwrap();
    assert_eq!(world.record()["confined"], true);
}
