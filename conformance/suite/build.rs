//! Names the files of the corpus, so that a group is added by writing its file.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=corpus");
    let folder = Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where")).join("corpus");
    let entries = fs::read_dir(&folder).expect("the folder of the corpus can be read");
    let paths = entries.map(|entry| entry.expect("its entries can be read").path());
    let mut groups: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "txt")).collect();
    groups.sort();
    let mut list = String::from("&[\n");
    for path in groups {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name in UTF-8");
        let path = path.to_str().expect("a path in UTF-8");
        list += &format!("    ({name:?}, include_str!({path:?})),\n");
    }
    list += "]\n";
    let out = Path::new(&env::var_os("OUT_DIR").expect("cargo says where")).join("corpus.rs");
    fs::write(out, list).expect("the list can be written");
}
