//! Certificates made by the `openssl` command, for one test each.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use mongrel2_conf::model::Server;

use crate::tls::{Certificates, TlsError};

pub(super) const UUID: &str = "f400bf85";

/// A folder of certificates.
pub(super) struct Files(PathBuf);

impl Files {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kennel-front-tls-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("certs")).unwrap();
        Self(path)
    }

    /// With the server's own certificate, for `localhost`.
    pub(super) fn with_server(name: &str) -> Self {
        let files = Self::new(name);
        files.make(UUID, "localhost");
        files
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join("certs").join(name)
    }

    pub(super) fn root(&self) -> &PathBuf {
        &self.0
    }

    pub(super) fn openssl(&self, line: &str) -> String {
        let words = line.split_whitespace();
        let output = Command::new("openssl").args(words).current_dir(self.path("")).output().unwrap();
        assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A certificate that signs itself, with an ECDSA key: `STEM.crt` and `STEM.key`.
    pub(super) fn make(&self, stem: &str, host: &str) {
        self.make_with(stem, host, "-newkey ec -pkeyopt ec_paramgen_curve:P-256");
    }

    pub(super) fn make_with(&self, stem: &str, host: &str, key: &str) {
        self.openssl(&format!(
            "req -x509 -nodes {key} -keyout {stem}.key -out {stem}.crt -days 30 -subj /CN={host} \
             -addext subjectAltName=DNS:{host} -addext basicConstraints=critical,CA:FALSE"
        ));
    }

    /// One that has expired.
    pub(super) fn make_expired(&self, stem: &str, host: &str) {
        fs::create_dir_all(self.path("ca")).unwrap();
        fs::write(self.path("ca/index"), "").unwrap();
        let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=ca/index\nnew_certs_dir=ca\nrand_serial=yes\npolicy=p\n\
                      default_md=sha256\nx509_extensions=e\n[p]\ncommonName=supplied\n\
                      [e]\nbasicConstraints=CA:FALSE\n";
        fs::write(self.path("ca/config"), config).unwrap();
        self.openssl(&format!(
            "req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout {stem}.key -out ca/{stem}.csr \
             -subj /CN={host}"
        ));
        self.openssl(&format!(
            "ca -batch -notext -config ca/config -selfsign -keyfile {stem}.key -in ca/{stem}.csr -out {stem}.crt \
             -startdate 20200101000000Z -enddate 20210101000000Z"
        ));
    }

    /// An authority, and a client's certificate that it issued.
    pub(super) fn make_client(&self, authority: &str, client: &str) {
        let key = "-nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256";
        self.openssl(&format!(
            "req -x509 {key} -keyout {authority}.key -out {authority}.pem -days 30 -subj /CN={authority}"
        ));
        self.openssl(&format!("req -new {key} -keyout {client}.key -out {client}.csr -subj /CN={client}"));
        let extensions = self.path("extensions");
        fs::write(&extensions, "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n").unwrap();
        self.openssl(&format!(
            "x509 -req -in {client}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -days 30 \
             -extfile extensions -out {client}.pem"
        ));
        fs::remove_file(extensions).unwrap();
    }

    pub(super) fn load(&self, settings: &[(&str, &str)]) -> Result<Arc<Certificates>, TlsError> {
        let server = Server { uuid: UUID.into(), use_ssl: true, ..Server::default() };
        let all = [("certdir", "certs/")].iter().chain(settings);
        let all: Vec<_> = all.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Certificates::load(&server, &all, &self.0)
    }

    /// The certificate in DER.
    pub(super) fn der(&self, name: &str) -> Vec<u8> {
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        CertificateDer::from_pem_file(self.path(name)).unwrap().to_vec()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
