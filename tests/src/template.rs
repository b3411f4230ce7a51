//! `template.yaml` as CloudFormation would deploy it: where the local world takes names,
//! environment, limits and roles from. `tests/resolve_template.py` says what is in it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value};

use crate::artefacts;

/// What `make resolved` writes.
const BUILT: &str = "target/template.json";
/// What it is made from.
const SOURCES: [&str; 2] = ["template.yaml", "tests/resolve_template.py"];

/// The logical id of the scanner.
pub const SCANNER: &str = "ScannerFunction";
/// The logical id of the updater.
pub const DEFINITIONS: &str = "DefinitionsFunction";
/// The logical id of what wires buckets.
pub const BUCKETS: &str = "BucketsFunction";

/// A resolved template. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Template {
    resolved: Arc<Value>,
}

/// A function as the template deploys it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployedFunction {
    /// Its name.
    pub name: String,
    /// Its own environment, without what Lambda sets.
    pub env: BTreeMap<String, String>,
    /// The longest that an invocation may take.
    pub timeout: Duration,
    /// Memory in MB.
    pub memory_mb: u32,
    /// The size of `/tmp`: 512 MB where the template does not say.
    pub tmp_bytes: u64,
    /// The role that it acts with.
    pub role_arn: String,
}

impl Template {
    /// The template as the make target resolved it, for suites with the parameters' defaults.
    ///
    /// # Errors
    ///
    /// It is not built, or the template has changed since; the message names the make target.
    pub fn built() -> anyhow::Result<Self> {
        Self::read(artefacts::workspace())
    }

    /// The template with parameters of the test's choice.
    ///
    /// # Errors
    ///
    /// CloudFormation would refuse them, or the tools are not installed.
    pub fn with(parameters: &[(&str, &str)]) -> anyhow::Result<Self> {
        // Each takes a second or more, and many tests of one program ask for the same.
        static KNOWN: LazyLock<Mutex<HashMap<String, Template>>> = LazyLock::new(Mutex::default);
        let written: Vec<_> =
            parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(template) = known.get(&written.join("\n")) {
            return Ok(template.clone());
        }
        let output = Command::new(artefacts::python()?)
            .arg(artefacts::workspace().join(SOURCES[1]))
            .args(&written)
            .output()
            .context("running resolve_template.py")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "resolving the template with {written:?}: {errors}");
        let template = Self::parse(&output.stdout).context("reading what it printed")?;
        known.insert(written.join("\n"), template.clone());
        Ok(template)
    }

    fn read(workspace: &Path) -> anyhow::Result<Self> {
        let path = workspace.join(BUILT);
        let Ok(bytes) = std::fs::read(&path) else {
            bail!("{} is missing; run `make resolved`, which builds it", path.display());
        };
        let changed = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified());
        let made = changed(&path).with_context(|| format!("asking for the age of {BUILT}"))?;
        for source in SOURCES {
            let source = workspace.join(source);
            let later = changed(&source).with_context(|| source.display().to_string())? > made;
            ensure!(!later, "{} is newer than {BUILT}; run `make resolved`", source.display());
        }
        Self::parse(&bytes).with_context(|| format!("reading {}", path.display()))
    }

    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let resolved: Value = serde_json::from_slice(bytes).context("it is no JSON")?;
        ensure!(resolved["resources"].is_object(), "it has no resources");
        Ok(Self { resolved: Arc::new(resolved) })
    }

    /// The physical name of a resource.
    ///
    /// # Errors
    ///
    /// The template does not deploy it.
    pub fn name(&self, logical_id: &str) -> anyhow::Result<&str> {
        self.text(logical_id, "name")
    }

    /// The ARN of a resource.
    ///
    /// # Errors
    ///
    /// The template does not deploy it, or it has none.
    pub fn arn(&self, logical_id: &str) -> anyhow::Result<&str> {
        self.text(logical_id, "arn")
    }

    /// What an output says.
    ///
    /// # Errors
    ///
    /// The template has no such output, or not with these parameters.
    pub fn output(&self, name: &str) -> anyhow::Result<&str> {
        let value = self.resolved["outputs"][name].as_str();
        value.with_context(|| format!("the template has no output {name}"))
    }

    /// All that the template says of a resource.
    ///
    /// # Errors
    ///
    /// The template does not deploy it.
    pub fn properties(&self, logical_id: &str) -> anyhow::Result<Map<String, Value>> {
        let properties = self.resource(logical_id)?["properties"].as_object().cloned();
        Ok(properties.unwrap_or_default())
    }

    /// A property of a resource: `Null` where the template leaves it to its default.
    ///
    /// # Errors
    ///
    /// The template does not deploy the resource.
    pub fn property(&self, logical_id: &str, name: &str) -> anyhow::Result<&Value> {
        Ok(&self.resource(logical_id)?["properties"][name])
    }

    /// A function.
    ///
    /// # Errors
    ///
    /// The template does not deploy it, or leaves out what no function can do without.
    pub fn function(&self, logical_id: &str) -> anyhow::Result<DeployedFunction> {
        let properties = &self.resource(logical_id)?["properties"];
        let number = |value: &Value, what: &str| {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            number.with_context(|| format!("{logical_id}: {what} is {value}, expected a number"))
        };
        let text = |name: &str, value: &Value| {
            let text = value.as_str().map(str::to_owned);
            text.with_context(|| format!("{logical_id}: {name} is {value}, expected a text"))
        };
        let mut env = BTreeMap::new();
        for (name, value) in
            properties["Environment"]["Variables"].as_object().into_iter().flatten()
        {
            env.insert(name.clone(), text(name, value)?);
        }
        let tmp = match &properties["EphemeralStorage"]["Size"] {
            Value::Null => 512, // Lambda's default
            size => number(size, "EphemeralStorage")?,
        };
        Ok(DeployedFunction {
            name: self.name(logical_id)?.to_owned(),
            env,
            timeout: Duration::from_secs(number(&properties["Timeout"], "Timeout")?.into()),
            memory_mb: number(&properties["MemorySize"], "MemorySize")?,
            tmp_bytes: u64::from(tmp) << 20,
            role_arn: text("Role", &properties["Role"])?,
        })
    }

    /// Every policy document of a function's role: those in the role, and those beside it.
    ///
    /// # Errors
    ///
    /// The function's role is not in the template, or has policies of somebody else, which
    /// nothing here can read.
    pub fn role_policies(&self, logical_id: &str) -> anyhow::Result<Vec<Value>> {
        let role_arn = self.function(logical_id)?.role_arn;
        let resources = || self.resolved["resources"].as_object().into_iter().flatten();
        let role = resources().find(|(_, resource)| {
            resource["type"] == "AWS::IAM::Role" && resource["arn"] == role_arn.as_str()
        });
        let (_, role) = role.with_context(|| format!("no role of the template is {role_arn}"))?;
        let properties = &role["properties"];
        for foreign in ["ManagedPolicyArns", "PermissionsBoundary"] {
            ensure!(properties[foreign].is_null(), "{role_arn} has {foreign}");
        }
        let inside = properties["Policies"].as_array().into_iter().flatten();
        let mut documents: Vec<_> = inside.map(|policy| policy["PolicyDocument"].clone()).collect();
        for (id, resource) in resources() {
            let properties = &resource["properties"];
            match resource["type"].as_str().unwrap_or_default() {
                "AWS::IAM::RolePolicy" if properties["RoleName"] == role["name"] => {
                    documents.push(properties["PolicyDocument"].clone());
                }
                "AWS::IAM::Policy" | "AWS::IAM::ManagedPolicy" => {
                    bail!("{id}: roles get their policies from AWS::IAM::RolePolicy here");
                }
                _ => {}
            }
        }
        Ok(documents)
    }

    fn text(&self, logical_id: &str, field: &str) -> anyhow::Result<&str> {
        let value = self.resource(logical_id)?[field].as_str();
        value.with_context(|| format!("{logical_id} has no {field}"))
    }

    fn resource(&self, logical_id: &str) -> anyhow::Result<&Value> {
        let resource = self.resolved["resources"].get(logical_id);
        resource.with_context(|| format!("the template does not deploy {logical_id}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_outdated_template_names_the_make_target() {
        let dir = tempfile::tempdir().expect("a folder");
        let says = || format!("{:#}", Template::read(dir.path()).expect_err("it cannot be read"));
        assert!(says().contains("template.json is missing; run `make resolved`"), "{}", says());

        let write = |path: &str, time: u64| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(&path, r#"{"resources": {}}"#).expect("written");
            let time = std::time::UNIX_EPOCH + Duration::from_secs(time);
            let file = std::fs::File::options().write(true).open(&path).expect("opened");
            file.set_modified(time).expect("a time");
        };
        for path in [SOURCES[0], SOURCES[1], BUILT] {
            write(path, 1_000);
        }
        Template::read(dir.path()).expect("as old as its sources");
        write(SOURCES[0], 1_001);
        assert!(says().contains("template.yaml is newer than"), "{}", says());
    }

    #[test]
    fn a_parameter_arrives_where_the_template_uses_it() {
        let template = Template::with(&[
            ("Timeout", "60"),
            ("MemorySize", "2048"),
            ("EphemeralStorage", "2048"),
            ("BatchSize", "7"),
            ("TagKey", "scanned"),
        ]);
        let template = template.expect("resolved");
        let scanner = template.function(SCANNER).expect("a function");
        assert_eq!(scanner.timeout, Duration::from_mins(1));
        assert_eq!((scanner.memory_mb, scanner.tmp_bytes), (2048, 2048 << 20));
        assert_eq!(scanner.env["TAG_KEY"], "scanned");
        let visibility = template.property("ScanQueue", "VisibilityTimeout").expect("a queue");
        assert_eq!(*visibility, 360, "six times the time-out");
        assert_eq!(*template.property("ScanQueueMapping", "BatchSize").expect("a mapping"), 7);
    }

    #[test]
    fn parameters_that_cloudformation_would_refuse_are_an_error() {
        let error = Template::with(&[("BatchSize", "11")]).expect_err("ten is the most");
        assert!(error.to_string().contains("BatchSize"), "{error}");
    }

    #[test]
    fn the_policy_beside_a_role_is_the_roles_too() {
        let plain = Template::with(&[("BucketNames", "uploads")]).expect("resolved");
        let attach = [("BucketNames", "uploads"), ("QuarantinePolicy", "attach")];
        let attach = Template::with(&attach).expect("resolved");
        let count = |template: &Template| template.role_policies(BUCKETS).expect("a role").len();
        assert_eq!((count(&plain), count(&attach)), (1, 2));
    }
}
