"""Generate, ship and operate a resilient payment processing API on AWS as plain CloudFormation.

What shapes the template: `template` puts the `groups` together, with the parameters and physical
names of `naming`; `record` holds its settings, `rendering` writes it as text. `difference` and
`grants` compare two templates, `linting` checks one, `openapi` describes the API.

What is packaged: `artifacts` zips the handlers, `layer` their dependencies, both by `zips`;
`own_gateway` is a gateway in a file of the user's, `pins` what a requirements file says, `wheels`
what that comes to. `gateway_check` tries the gateway class, in a `function_folder`: the program
`gateway_probe` imports it, and `gateway_trial` pays with it, as `conformance` says, with the secret
of a `secret_file`, over `gateway_network`; `stripe_key` looks at Stripe's.

What reads settings: `sources` makes a `config` of flags, environment variables and the TOML file;
`rules` say what a value may be, `combinations` what several have to agree on. `place` is where an
environment is: profile, region and stack; `gateway_names` are what a gateway is called.

What everybody uses: `names`, `errors`, `checks`, `moments`, `wording`, `foreign`, `texts`, `files`,
`scratch`, `interpreter`.

On top of these: `cloud` calls AWS, `local` stands in for it, `doctor` examines machine and account,
`cli` is the command line.
"""

__version__ = "0.1.0"
