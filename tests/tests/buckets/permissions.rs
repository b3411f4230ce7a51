//! The role allows what the wiring does, and nothing that it does not do.

use scanner_tests::fake_s3::{FakeS3, Versioning};

use crate::support::{Stack, properties, with};

/// What is granted and was not used by creating, detaching and deleting.
async fn unused(parameters: &[(&str, &str)], policy: &str) -> Vec<String> {
    let s3 = FakeS3::new().bucket("uploads", Versioning::Off);
    let stack = Stack::deployed_with(s3.client(), parameters);
    let wanted = with(&properties(&["uploads"]), &[("QuarantinePolicy", policy)]);
    stack.create(&wanted).await;
    stack.delete(&wanted).await;
    let granted = stack.recorder.policies().grants();
    let used = stack.recorder.used();
    granted.difference(&used).map(ToString::to_string).collect()
}

#[tokio::test]
async fn all_that_the_wiring_may_do_it_does() {
    // Lambda writes what the function prints.
    let lambdas = [
        "logs:CreateLogStream of statement Logs".to_owned(),
        "logs:PutLogEvents of statement Logs".to_owned(),
    ];
    let names = ("BucketNames", "uploads");
    assert_eq!(unused(&[names], "none").await, lambdas);
    assert_eq!(unused(&[names, ("QuarantinePolicy", "attach")], "attach").await, lambdas);
}
